//! Seeded weights, and products of every kernel with every end.

use cuda_lab::reference;
use engine_cuda::device::Device;
use engine_cuda::layout::Matrix;
use engine_cuda::plan::{Epilogue, product};
use engine_cuda::shape::{BUCKETS, Precision};

use crate::lab::{Lab, bf16s, error, packed, random, to_bf16, unpacked};

const BOTH: [Precision; 2] = [Precision::Bf16, Precision::Fp8];

/// Rows of a packed matrix as numbers: the formulas of `kernels/packed.cuh` and of `Fp8`, once
/// more.
fn unpack(lab: &mut Lab, matrix: &Matrix) -> Vec<f32> {
    let bytes = lab.bytes(matrix.weights);
    let scales = matrix.scales.map(|scales| lab.floats(scales));
    let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
    let chunks = columns / 32;
    let wide = bf16s(&bytes);
    let mut out = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            let block = (row / 16 * chunks + column / 32) * 512;
            let (half, lane) = (row % 16 / 8, row % 8 * 4 + column % 32 / 8);
            let e = column % 8;
            out.push(match &scales {
                None => wide[block + half * 256 + lane * 8 + e],
                Some(scales) => {
                    let e = [0, 2, 1, 3, 4, 6, 5, 7][e];
                    e4m3_value(bytes[block + lane * 16 + half * 8 + e]) * scales[row]
                }
            });
        }
    }
    out
}

fn e4m3_value(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let size = match exponent {
        0 => mantissa * 2.0_f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2.0_f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { size } else { -size }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn seeded_weights_are_those_of_the_reference_bit_for_bit() {
    for precision in BOTH {
        let mut lab = Lab::new();
        let (matrix, expected) = lab.matrix(200, 96, precision, 7);
        assert_eq!(unpack(&mut lab, &matrix), expected, "{precision:?}");
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn products_are_those_of_the_reference_in_every_bucket_with_every_end() {
    for (precision, rows, columns) in [
        (Precision::Bf16, 200, 576),
        (Precision::Bf16, 1000, 1536),
        (Precision::Bf16, 256, 14336),
        (Precision::Fp8, 200, 576),
        (Precision::Fp8, 1000, 1536),
        (Precision::Fp8, 256, 14336),
        (Precision::Bf16, 48, 32),
        (Precision::Bf16, 4032, 2048),
    ] {
        let mut lab = Lab::new();
        let (matrix, weights) = lab.matrix(rows, columns, precision, 11);
        let (rows, columns) = (rows as usize, columns as usize);
        for bucket in BUCKETS.into_iter().filter(|bucket| *bucket <= 128) {
            let count = bucket as usize;
            let x = random(u64::from(bucket), count * columns);
            let x_at = lab.put_bytes(&to_bf16(&packed(&x, columns)));
            let sums: Vec<f32> = x
                .chunks_exact(columns)
                .flat_map(|x| reference::product(&weights, x))
                .collect();
            let before = random(3, sums.len());

            let stored = lab.poisoned(sums.len());
            let added = lab.put(&before);
            let inner = lab.put_bytes(&to_bf16(&vec![
                f32::NAN;
                count.next_multiple_of(8) * rows / 2
            ]));
            let launches = [
                (stored, Epilogue::Store),
                (added, Epilogue::Add),
                (inner, Epilogue::Silu),
            ]
            .map(|(out, end)| product(&matrix, x_at, out, bucket, end, rows as u32));
            // The last needs rows by sixteens, and an inner width by chunks.
            let silu = rows.is_multiple_of(64);
            lab.gpu.run(&launches[..if silu { 3 } else { 2 }]).unwrap();

            let what = format!("{precision:?} {rows} x {columns}, bucket {bucket}");
            let off = error(&lab.floats(stored), &sums);
            assert!(off < 2e-6, "{what}: {off:e}");
            let summed: Vec<f32> = sums.iter().zip(&before).map(|(a, b)| a + b).collect();
            let off = error(&lab.floats(added), &summed);
            assert!(off < 2e-6, "{what}, added: {off:e}");
            if silu {
                let expected: Vec<f32> =
                    sums.chunks_exact(rows).flat_map(reference::silu).collect();
                let off = error(&unpacked(&lab.bf16s(inner), count, rows / 2), &expected);
                assert!(off < 3e-3, "{what}, silu: {off:e}");
            }
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_row_of_a_product_has_the_same_bits_in_every_bucket() {
    for precision in BOTH {
        let mut lab = Lab::new();
        let (matrix, _) = lab.matrix(4032, 2048, precision, 5);
        let x = random(1, 256 * 2048);
        let mut first: Option<Vec<u32>> = None;
        for bucket in BUCKETS {
            let rows = &x[..bucket as usize * 2048];
            let x_at = lab.put_bytes(&to_bf16(&packed(rows, 2048)));
            let out = lab.poisoned(bucket as usize * 4032);
            let launch = product(&matrix, x_at, out, bucket, Epilogue::Store, 4032);
            lab.gpu.run(&[launch]).unwrap();
            let row: Vec<u32> = lab.floats(out)[..4032]
                .iter()
                .map(|v| v.to_bits())
                .collect();
            match &first {
                None => first = Some(row),
                Some(first) => assert_eq!(&row, first, "{precision:?}, bucket {bucket}"),
            }
        }
    }
}
