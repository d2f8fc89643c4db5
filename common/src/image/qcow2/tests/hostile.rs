use super::*;
use crate::image::testing::{Random, load, run_qemu_img, scattered};

/// A small image with a data cluster, a compressed one and a zero one.
fn sample(arguments: &[&str]) -> Vec<u8> {
    let scratch = Scratch::new();
    let (_, bytes) = scattered(77, 3 << 20);
    let (from, to) = (scratch.write("s.raw", &bytes), scratch.text("s.qcow2"));
    let mut call = vec!["convert", "-O", "qcow2"];
    call.extend_from_slice(arguments);
    call.extend([from.as_str(), to.as_str()]);
    run_qemu_img(&call);
    std::fs::read(to).unwrap()
}

fn put(bytes: &mut [u8], at: usize, value: u64, len: usize) {
    bytes[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
}

fn get(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Opens, walks, loads and checks; the first error.
fn verdict(bytes: Vec<u8>) -> Result<(), ImageError> {
    let image = open_bytes(bytes)?;
    image.info();
    for extent in image.extents(0..image.capacity()) {
        let extent = extent?;
        if let crate::image::Body::Data(crate::image::Block::Packed(packed)) = &extent.body {
            let mut unit = vec![0; packed.unit as usize];
            let mut unpacker = crate::image::coding::Unpacker::new();
            unpacker.unpack(packed.coding, &packed.fetch()?, &mut unit)?;
        } else if extent.len() < 1 << 26 {
            load(&extent);
        }
    }
    image.check().map(drop)
}

#[test]
fn broken_headers_are_named() {
    type Case = (usize, u64, usize, &'static str);
    let cases: [Case; 20] = [
        (0, 0, 4, "no qcow2 header"),
        (4, 1, 4, "qcow version 1"),
        (4, 4, 4, "qcow version 4"),
        (8, 65_530, 8, "backing file name"),
        (20, 63, 4, "2^63"),
        (20, 8, 4, "2^8"),
        (24, u64::MAX, 8, "capacity"),
        (24, 1 << 50, 8, "L1 table of 1 entries"),
        (32, 1, 4, "encrypted (AES)"),
        (32, 2, 4, "encrypted (LUKS)"),
        (36, 0xffff_ffff, 4, "L1 table of 4294967295 entries"),
        (36, 4 << 20, 4, "past the end"),
        (40, 1 << 60, 8, "past the end"),
        (40, 77, 8, "starts at byte 77"),
        (56, 0xffff_ffff, 4, "refcount table is too large"),
        (72, 2, 8, "repair"),
        (72, 1 << 3, 8, "compression type"),
        (96, 7, 4, "2^7"),
        (100, 1 << 20, 4, "header of 1048576"),
        (100, 60, 4, "header of 60"),
    ];
    let good = sample(&[]);
    assert!(verdict(good.clone()).is_ok());
    for (at, value, len, wanted) in cases {
        let mut bytes = good.clone();
        put(&mut bytes, at, value, len);
        if at == 8 {
            put(&mut bytes, 16, 1000, 4);
        }
        let error = verdict(bytes).unwrap_err().to_string();
        assert!(error.contains(wanted), "byte {at}: {error}");
    }
}

#[test]
fn unknown_features_are_called_by_the_name_that_the_image_gives() {
    let mut bytes = sample(&[]);
    put(&mut bytes, 72, 1 << 17, 8);
    let error = verdict(bytes.clone()).unwrap_err();
    assert!(matches!(&error, ImageError::Unsupported(t) if t.contains("bit 17")), "{error}");
    let table = bytes.windows(4).position(|w| w == [0x68, 0x03, 0xf8, 0x57]).unwrap() + 8;
    bytes[table..table + 12].copy_from_slice(b"\x00\x11time travel"[..12].as_ref());
    bytes[table + 12..table + 48].fill(0);
    let error = verdict(bytes).unwrap_err();
    assert!(error.to_string().contains("time trave"), "{error}");
}

#[test]
fn dirty_images_are_read_and_say_so() {
    let mut bytes = sample(&[]);
    put(&mut bytes, 72, 1, 8);
    let table = get(&bytes, 48) as usize;
    put(&mut bytes, table, 0, 8); // no counts at all
    let image = open_bytes(bytes.clone()).unwrap();
    assert!(image.info().details.iter().any(|(name, _)| name == "dirty"));
    assert_eq!(image.check().unwrap().len(), 1);
    // Without counts it is the tables alone that show an overlap.
    let l2 = (get(&bytes, get(&bytes, 40) as usize) & 0x00ff_ffff_ffff_fe00) as usize;
    let used: Vec<_> =
        (0..48).map(|slot| l2 + slot * 8).filter(|at| get(&bytes, *at) > 1).collect();
    let first = get(&bytes, used[0]);
    put(&mut bytes, used[1], first, 8);
    let error = open_bytes(bytes).unwrap().check().unwrap_err().to_string();
    assert!(error.contains("two things"), "{error}");
}

#[test]
fn broken_tables_are_damage() {
    let good = sample(&[]);
    let l1 = get(&good, 40) as usize;
    let offset = |word: u64| (word & 0x00ff_ffff_ffff_fe00) as usize;
    let l2 = offset(get(&good, l1));
    let slots: Vec<usize> =
        (0..48).map(|slot| l2 + slot * 8).filter(|at| offset(get(&good, *at)) != 0).collect();
    let first = offset(get(&good, slots[0])) as u64;
    let table = get(&good, 48) as usize;
    let copied = 1 << 63;
    let cases: Vec<(&str, usize, u64, &str)> = vec![
        ("L2 beyond the file", l1, copied | 1 << 50, "past the end"),
        ("L2 between clusters", l1, copied | (l2 as u64 + 512), "L2 table 0 lies at"),
        ("L1 that points to itself", l1, copied | l1 as u64, ""),
        ("L2 that points to itself", slots[1], copied | l2 as u64, "two things"),
        ("a cluster mapped twice", slots[1], copied | first, "used 2 times and counted 1"),
        ("a cluster beyond the file", slots[1], copied | 1 << 50, "past the end"),
        ("a cluster between clusters", slots[1], copied | (first + 512), "lies at byte"),
        ("a cluster over the header", slots[1], copied | table as u64, "two things"),
        ("no refcount block", table, 0, "counted 0 times"),
        ("refcount block beyond the file", table, 1 << 50, "refcount block 0"),
        ("refcount block that is the table", table, table as u64, ""),
        ("compressed beyond the file", slots[1], 1 << 62 | 1 << 45, "past the end"),
        ("compressed rubbish", slots[1], 1 << 62 | 5, ""),
    ];
    for (what, at, value, wanted) in cases {
        let mut bytes = good.clone();
        put(&mut bytes, at, value, 8);
        let error = verdict(bytes).expect_err(what).to_string();
        assert!(error.contains(wanted), "{what}: {error}");
    }
}

#[test]
fn a_small_file_cannot_pretend_to_be_full_of_data() {
    // Every L1 entry names the same L2 table, every entry of which names the same cluster.
    let mut bytes = vec![0; 5 * 65_536];
    let mut header = sample(&[])[..65_536].to_vec();
    put(&mut header, 24, 1 << 42, 8);
    put(&mut header, 36, 8192, 4);
    put(&mut header, 40, 65_536, 8);
    bytes[..65_536].copy_from_slice(&header);
    for slot in 0..8192 {
        put(&mut bytes, 65_536 + slot * 8, (1 << 63) | (2 * 65_536), 8);
        put(&mut bytes, 2 * 65_536 + slot * 8, (1 << 63) | (3 * 65_536), 8);
    }
    let error = verdict(bytes.clone()).unwrap_err().to_string();
    assert!(error.contains("overlap"), "{error}");
    for slot in 0..8192 {
        put(&mut bytes, 2 * 65_536 + slot * 8, (1 << 62) | (3 * 65_536), 8);
    }
    let image = open_bytes(bytes).unwrap();
    let walked = image.extents(0..image.capacity()).collect::<Result<Vec<_>, _>>();
    assert!(walked.unwrap_err().to_string().contains("overlap"));
}

#[test]
fn cut_and_changed_files_never_panic_and_cut_data_is_missed() {
    let mut random = Random(5);
    for good in [sample(&[]), sample(&["-c"]), sample(&["-o", "extended_l2=on"])] {
        for _ in 0..60 {
            let cut = random.below(good.len() as u64) as usize;
            assert!(verdict(good[..cut].to_vec()).is_err(), "cut at {cut} of {}", good.len());
        }
        for _ in 0..400 {
            let mut bytes = good.clone();
            for _ in 0..=random.below(3) {
                // Mostly where the tables are.
                let at = match random.below(3) {
                    0 => random.below(120),
                    1 => (get(&good, 40) & !65_535) + random.below(64),
                    _ => random.below(6 * 65_536),
                };
                let at = at as usize % bytes.len();
                bytes[at] = random.draw() as u8;
            }
            let _ = verdict(bytes);
        }
    }
}
