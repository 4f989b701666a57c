//! The original Cocoon's root contract, read from what was captured of it on the main network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

mod captured;

use captured::root_data;
use contracts::cocoon_root::{CocoonRoot, RootError};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellSlice};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn reads_what_was_captured_on_the_main_network() {
    let root = CocoonRoot::parse(&root_data()).unwrap();
    assert_eq!(
        root.owner.to_string(),
        "0:e796c95723646d2355a12e6b5e9646f8095406c6bf04ff14888e5d0783bf6336"
    );
    assert_eq!((root.version, root.last_proxy_seqno), (87, 3));
    let [provider] = root.providers.as_slice() else {
        panic!("one provider is registered");
    };
    assert_eq!(provider.seqno, 2);
    assert_eq!(provider.for_workers, "91.108.4.11:5222");
    assert_eq!(provider.for_clients, "91.108.4.11:8888");
    let counts = [&root.proxy_hashes, &root.worker_hashes, &root.model_hashes].map(Vec::len);
    assert_eq!(counts, [4, 5, 4]);
    assert_eq!(
        hex(&root.model_hashes[0]),
        "2eb984d846729cb88f892b752376086cdfcae81b52d72c1a15b87b0e2622908e"
    );
    let params = root.params;
    assert_eq!((params.struct_version, params.params_version), (4, 17));
    assert_eq!((params.unique_id, params.is_test), (239, false));
    assert_eq!(params.price_per_token.units(), 20);
    assert_eq!(params.worker_fee_per_token.units(), 19);
    let multipliers = [
        params.prompt_multiplier,
        params.cached_multiplier,
        params.completion_multiplier,
        params.reasoning_multiplier,
    ];
    assert_eq!(multipliers, [10_000, 1_000, 80_000, 80_000]);
    assert_eq!((params.proxy_delay, params.client_delay), (86_400, 43_200));
    assert_eq!(params.min_proxy_stake.units(), 15_000_000_000);
}

/// The captured root with its cell, and the cells under it, made anew by `change`.
fn changed(change: impl FnOnce(&mut CellBuilder, &mut Vec<Cell>, &Cell)) -> RootError {
    let root = Boc::decode(root_data()).unwrap();
    let mut builder = CellBuilder::new();
    let mut data = root.as_slice().unwrap();
    let mut children = Vec::new();
    while let Ok(child) = data.load_reference_cloned() {
        children.push(child);
    }
    builder.store_slice_data(data).unwrap();
    change(&mut builder, &mut children, &root);
    for child in children {
        builder.store_reference(child).unwrap();
    }
    CocoonRoot::of_cell(&builder.build().unwrap()).unwrap_err()
}

/// A cell with other bits, and the references of the old one.
fn rewritten(cell: &Cell, rewrite: impl FnOnce(&mut CellBuilder, CellSlice<'_>)) -> Cell {
    let mut builder = CellBuilder::new();
    let mut slice = cell.as_slice().unwrap();
    let mut children = Vec::new();
    while let Ok(child) = slice.load_reference_cloned() {
        children.push(child);
    }
    rewrite(&mut builder, slice);
    for child in children {
        builder.store_reference(child).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn refuses_versions_that_nobody_described() {
    for version in [0, 5, 6, 255] {
        let refused = changed(|_, children, _| {
            children[1] = rewritten(&children[1], |builder, mut rest| {
                rest.skip_first(8, 0).unwrap();
                builder.store_u8(version).unwrap();
                builder.store_slice_data(rest).unwrap();
            });
        });
        assert_eq!(refused, RootError::UnknownVersion { found: version });
    }
}

/// Version 3 has no third reference and version 4 needs it: neither is guessed.
#[test]
fn refuses_a_version_whose_layout_is_another() {
    let without = changed(|_, children, _| drop(children.pop()));
    assert_eq!(without.code(), "cocoon-root-malformed");
    let older = changed(|_, children, _| {
        children[1] = rewritten(&children[1], |builder, mut rest| {
            rest.skip_first(8, 0).unwrap();
            builder.store_u8(3).unwrap();
            builder.store_slice_data(rest).unwrap();
        });
    });
    assert_eq!(older.code(), "cocoon-root-malformed");
}

#[test]
fn refuses_what_is_left_over_and_what_is_cut_off() {
    let trailing = changed(|builder, _, _| builder.store_bit_one().unwrap());
    assert_eq!(trailing.code(), "cocoon-root-malformed");
    for child in 0..3 {
        let longer = changed(|_, children, _| {
            children[child] = rewritten(&children[child], |builder, rest| {
                builder.store_slice_data(rest).unwrap();
                builder.store_bit_zero().unwrap();
            });
        });
        assert_eq!(longer.code(), "cocoon-root-malformed", "child {child}");
    }
    let bag = root_data();
    for end in (0..bag.len()).step_by(97) {
        assert!(CocoonRoot::parse(&bag[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn no_changed_byte_makes_it_panic() {
    let bag = root_data();
    let mut read = 0;
    for at in 0..bag.len() {
        let mut other = bag.clone();
        other[at] ^= 0x11;
        read += u32::from(CocoonRoot::parse(&other).is_ok());
    }
    assert!(read > 0, "bytes of code, for instance, are not looked at");
}
