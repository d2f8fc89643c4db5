//! Exports under random faults and kills, one after another: the bytes are always right, and
//! nothing stays on the server. Long, and so only run by name (`scripts/e2e faults`).

use crate::disks::holds;
use crate::sim::Lab;

/// How many exports, unless `HYPER_FAULT_LOOPS` says otherwise.
const LOOPS: u64 = 100;

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What goes wrong in one lab. All of it passes, so that the last try of each export succeeds.
fn faults(dice: &mut Dice) -> Vec<String> {
    let mut rules = Vec::new();
    for _ in 0..dice.roll(4) {
        let (skip, at) = (dice.roll(3), dice.roll(2_000_000));
        let disk = dice.roll(2);
        rules.push(match dice.roll(8) {
            0 => format!("op=nfc,object=disk-{disk},skip={skip},max=1,cut={at}"),
            1 => format!("op=nfc,object=disk-{disk},skip={skip},max=1,short={at}"),
            2 => format!("op=nfc,object=disk-{disk},skip={skip},max=1,corrupt={at}"),
            3 => format!("op=nfc,skip={skip},max=1,status=503,retry-after=1"),
            4 => format!("op=HttpNfcLeaseProgress,skip={skip},max=1,lose"),
            5 => format!("op=RetrievePropertiesEx,skip={},max=1,expire", dice.roll(12)),
            6 => format!("op=folder,object=flat,skip={},max=1,cut={}", dice.roll(9), at / 4),
            _ => format!("op=folder,object=flat,skip={},max=1,short={}", dice.roll(9), at / 4),
        });
    }
    rules
}

#[test]
#[ignore = "takes minutes"]
fn a_hundred_exports_under_random_faults() {
    let loops = std::env::var("HYPER_FAULT_LOOPS").map_or(LOOPS, |text| text.parse().unwrap());
    let seed = std::env::var("HYPER_FAULT_SEED").map_or(1, |text| text.parse().unwrap());
    let formats: [&[&str]; 6] = [
        &["-f", "qcow2"],
        &["-f", "qcow2", "--compress", "zlib", "--trust-source"],
        &["-f", "raw"],
        &["-f", "vmdk"],
        &["-f", "ovf"],
        &["-f", "qcow2", "--verify", "--compress", "zstd"],
    ];
    let mut tally = std::collections::BTreeMap::new();
    for number in 0..loops {
        let mut dice = Dice((seed * 1000 + number) | 1 << 40);
        (0..9).for_each(|_| {
            dice.roll(2);
        });
        let rules = faults(&mut dice);
        let mut flags: Vec<&str> = rules.iter().flat_map(|rule| ["--fault", rule]).collect();
        let running = dice.roll(2) == 0;
        flags.extend(if running { vec!["--running", "web01"] } else { vec![] });
        flags.extend((dice.roll(2) == 0).then_some("--thick"));
        let lab = Lab::new(&flags);
        let mut args = formats[dice.roll(6) as usize].to_vec();
        args.extend(running.then_some("--temp-snapshot"));
        let format = if matches!(args[1], "ovf") { "vmdk" } else { args[1] };
        let tries = export(&lab, &args, &mut dice, &mut tally);
        for (disk, bytes) in lab.disks.iter().enumerate() {
            holds(&lab.user.at(&format!("out/web01-disk{disk}.{format}")), format, bytes);
        }
        assert!(lab.user.all_names("out").iter().all(|name| !name.starts_with('.')));
        lab.user.tool("hyper-history", &["runs", "clean", "--yes"]).ends(0);
        assert_eq!(lab.sim.snapshots(), [""; 0], "{number}: {rules:?} after {tries} tries");
    }
    println!("{loops} exports; how their tries ended: {tally:?}");
}

/// The same command until it succeeds; tries that are not the last may be killed.
fn export(
    lab: &Lab,
    args: &[&str],
    dice: &mut Dice,
    tally: &mut std::collections::BTreeMap<String, u32>,
) -> u32 {
    for tries in 1..20 {
        let slow = ["--limit-rate", "2M", "--progress", "json"];
        let kill = tries < 5 && dice.roll(3) == 0;
        let done = if kill {
            let mut run = lab.user.start(&Lab::args(&[args, &slow].concat()));
            run.wait_for(|line| line["event"] == "progress");
            std::thread::sleep(std::time::Duration::from_millis(dice.roll(1500)));
            run.signal(["INT", "TERM", "KILL"][dice.roll(3) as usize]);
            run.end()
        } else {
            lab.user.run(&Lab::args(args))
        };
        let how = done.status.map_or("killed".to_owned(), |status| status.to_string());
        *tally.entry(how).or_default() += 1;
        match done.status {
            Some(0) => return tries,
            // A lost lease, a cut, damage, a stop, a host that is busy, or a kill.
            Some(1 | 6 | 8 | 9 | 130) | None => {}
            // A login that ended a second time while it was being renewed.
            Some(4) if done.err.contains("NotAuthenticated") => {}
            _ => panic!("{args:?}: {done:?}"),
        }
        let named = lab.user.names("out");
        // Naming itself may be what the kill met.
        assert!(named.is_empty() || done.status.is_none(), "{named:?}: {}", done.err);
        if !named.is_empty() {
            std::fs::remove_dir_all(lab.user.at("out")).unwrap();
        }
    }
    panic!("{args:?} never succeeds")
}
