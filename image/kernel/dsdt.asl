// The only ACPI definition block that the guest ever loads: data, no method, no region, no event.
//
// Compiled into the kernel in place of the host's DSDT (CONFIG_ACPI_CUSTOM_DSDT); the patches in
// image/kernel/patches refuse every other block. So no bytecode of the host runs in the guest.
DefinitionBlock ("", "DSDT", 2, "COCOON", "GUEST", 0x00000001)
{
    // Power off: SLP_TYP 0 in the power management register that the FADT names.
    Name (\_S5, Package () { Zero, Zero, Zero, Zero })

    Scope (\_SB)
    {
        // One PCI Express host bridge. Its windows are all of I/O space and memory (`pci=nocrs`):
        // they would depend on the machine's shape, and what is RAM is known from elsewhere.
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08"))
            Name (_CID, EisaId ("PNP0A03"))
            Name (_UID, Zero)
            Name (_SEG, Zero)
            Name (_BBN, Zero)
            Name (_CRS, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0x0000, 0x0000, 0x00FF, 0x0000, 0x0100)
            })
        }

        // Where image/firmware puts the configuration space of PCI Express. The kernel accepts the
        // host's MCFG table only inside what is reserved here.
        Device (ECAM)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_UID, Zero)
            Name (_CRS, ResourceTemplate ()
            {
                Memory32Fixed (ReadWrite, 0xE0000000, 0x10000000)
            })
        }
    }
}
