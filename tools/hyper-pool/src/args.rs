//! What `hyper pool` takes.

use clap::{Args, Subcommand};
use hyper_common::provider::{AllocationChange, Shares, UNLIMITED};
use hyper_common::tool::flags::{
    DryRunFlags, OutputFlags, PlatformFlags, PlatformsFlags, TalkFlags, TimeoutFlags, YesFlags,
};
use hyper_common::vm::parse_bytes;

/// The arguments of `hyper pool`.
#[derive(Debug, Args)]
pub struct PoolArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with pools.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show pools, each below the one that it is in
    ///
    /// Limits stand beside what is used: in parentheses is the part of what the pool could use at
    /// most, by its own limit and those around it. The own pools of clusters and hosts come first.
    List(ListArgs),
    /// Show single pools
    Get(GetArgs),
    /// Make a pool
    ///
    /// What is not said is as servers make it by themselves: nothing reserved, no limit, normal
    /// shares, and reservations that may grow.
    Create(CreateArgs),
    /// Change what is named of a pool
    ///
    /// Everything else stays. What somebody changed meanwhile is not undone: the run fails then.
    Update(UpdateArgs),
    /// Remove pools
    ///
    /// Pools and machines in a removed pool go to the one around it; what the server made of them
    /// is told. The own pools of clusters and hosts, and vApps, are not removed.
    Delete(DeleteArgs),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show only pools that match: GLOB or /REGEX/ on the name, FIELD=GLOB, FIELD=/REGEX/
    #[arg(long = "match", value_name = "PATTERN")]
    pub matches: Vec<String>,

    #[command(flatten)]
    pub contexts: PlatformsFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// Pools: NAME, PATH or its end, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "POOL", required = true)]
    pub pools: Vec<String>,

    #[command(flatten)]
    pub context: PlatformFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// The arguments of `create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it is to be called: NAME or CONTEXT:NAME
    #[arg(value_name = "NAME")]
    pub name: String,

    /// Make it in this pool, or in the own one of this cluster or host: NAME, PATH or its end, @ID
    #[arg(long, value_name = "POOL")]
    pub parent: Option<String>,

    #[command(flatten)]
    pub size: SizeArgs,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `update`.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The pool: NAME, PATH or its end, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "POOL")]
    pub pool: String,

    /// Call it so
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    #[command(flatten)]
    pub size: SizeArgs,
    #[command(flatten)]
    pub change: ChangeArgs,
}

/// The arguments of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Pools: NAME, PATH or its end, CONTEXT:NAME, CONTEXT:PATH or CONTEXT:@ID
    #[arg(value_name = "POOL", required = true)]
    pub pools: Vec<String>,

    #[command(flatten)]
    pub change: ChangeArgs,
    #[command(flatten)]
    pub yes: YesFlags,
}

/// What the verbs that change pools share.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    pub dry_run: DryRunFlags,
    #[command(flatten)]
    pub context: PlatformFlags,
    #[command(flatten)]
    pub timeout: TimeoutFlags,
    #[command(flatten)]
    pub output: OutputFlags,
    #[command(flatten)]
    pub talk: TalkFlags,
}

/// How much a pool is given.
#[derive(Debug, Args)]
pub struct SizeArgs {
    /// Keep so much of the processors for it, such as 500, 500MHz or 2GHz
    #[arg(long, value_name = "MHZ", value_parser = mhz, allow_negative_numbers = true)]
    pub cpu_reservation: Option<i64>,

    /// Give it no more of the processors than this, or `unlimited`
    #[arg(long, value_name = "MHZ", value_parser = cpu_limit, allow_negative_numbers = true)]
    pub cpu_limit: Option<i64>,

    /// Weigh it so where processors are short: low, normal, high or a number
    #[arg(long, value_name = "SHARES", value_parser = shares, allow_negative_numbers = true)]
    pub cpu_shares: Option<Shares>,

    /// Let it take from the pool around it what its reservation of processors lacks, or not
    #[arg(long, value_name = "true|false", value_parser = clap::value_parser!(bool))]
    pub cpu_expandable: Option<bool>,

    /// Keep so much memory for it, such as 4Gi
    #[arg(long, value_name = "SIZE", value_parser = mib, allow_negative_numbers = true)]
    pub memory_reservation: Option<i64>,

    /// Give it no more memory than this, or `unlimited`
    #[arg(long, value_name = "SIZE", value_parser = memory_limit, allow_negative_numbers = true)]
    pub memory_limit: Option<i64>,

    /// Weigh it so where memory is short: low, normal, high or a number
    #[arg(long, value_name = "SHARES", value_parser = shares, allow_negative_numbers = true)]
    pub memory_shares: Option<Shares>,

    /// Let it take from the pool around it what its reservation of memory lacks, or not
    #[arg(long, value_name = "true|false", value_parser = clap::value_parser!(bool))]
    pub memory_expandable: Option<bool>,
}

impl SizeArgs {
    /// What is said about processors, and about memory.
    pub fn changes(self) -> (AllocationChange, AllocationChange) {
        let cpu = AllocationChange {
            reservation: self.cpu_reservation,
            limit: self.cpu_limit,
            expandable: self.cpu_expandable,
            shares: self.cpu_shares,
        };
        let memory = AllocationChange {
            reservation: self.memory_reservation,
            limit: self.memory_limit,
            expandable: self.memory_expandable,
            shares: self.memory_shares,
        };
        (cpu, memory)
    }
}

impl PoolArgs {
    /// The references as typed.
    pub fn references(&self) -> Vec<String> {
        match &self.verb {
            Verb::List(_) => Vec::new(),
            Verb::Get(args) => args.pools.clone(),
            Verb::Create(args) => vec![args.name.clone()],
            Verb::Update(args) => vec![args.pool.clone()],
            Verb::Delete(args) => args.pools.clone(),
        }
    }
}

/// Whole MHz.
fn mhz(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, scale) = match (lower.strip_suffix("ghz"), lower.strip_suffix("mhz")) {
        (Some(number), _) => (number, "g"),
        (None, Some(number)) => (number, ""),
        (None, None) => (lower.as_str(), ""),
    };
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("it is a number of MHz that is not negative, such as 500 or 2GHz".to_owned());
    }
    // A GHz has as many MHz as a thousand has ones.
    let parsed = match scale {
        "g" => parse_bytes(&format!("{number}k"))?,
        _ => parse_bytes(number)?,
    };
    i64::try_from(parsed).map_err(|_| "it is too much".to_owned())
}

/// Whole MiB.
fn mib(text: &str) -> Result<i64, String> {
    if text.trim_start().starts_with('-') {
        return Err("it is an amount that is not negative, such as 4Gi".to_owned());
    }
    let bytes = parse_bytes(text)?;
    match bytes.is_multiple_of(1 << 20) {
        true => i64::try_from(bytes >> 20).map_err(|_| "it is too much".to_owned()),
        false => Err("memory of pools is counted in whole MiB, such as 512Mi or 4Gi".to_owned()),
    }
}

fn cpu_limit(text: &str) -> Result<i64, String> {
    limit(text, mhz)
}

fn memory_limit(text: &str) -> Result<i64, String> {
    limit(text, mib)
}

fn limit(text: &str, amount: impl Fn(&str) -> Result<i64, String>) -> Result<i64, String> {
    if text.trim().eq_ignore_ascii_case("unlimited") {
        return Ok(UNLIMITED);
    }
    amount(text).map_err(|words| format!("{words}; or `unlimited`"))
}

/// A level, or a number of shares. The API has a signed number of 32 bits.
fn shares(text: &str) -> Result<Shares, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "low" => Ok(Shares::Low),
        "normal" => Ok(Shares::Normal),
        "high" => Ok(Shares::High),
        number => match number.parse::<u32>() {
            Ok(number) if i32::try_from(number).is_ok() => Ok(Shares::Custom(number)),
            _ => Err("shares are low, normal, high or a number that is not negative".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_and_not_negative() {
        for (text, expected) in
            [("0", 0), ("500", 500), ("500 MHz", 500), ("2ghz", 2000), ("1.5GHz", 1500)]
        {
            assert_eq!(mhz(text), Ok(expected), "{text}");
        }
        for text in
            ["", "-1", "-5", "x", "2THz", "0.3", "0.0001GHz", "4Gi", "1e3", "99999999999999999999"]
        {
            assert!(mhz(text).is_err(), "{text}");
        }
        assert_eq!((mib("4Gi"), mib("0"), mib("512Mi")), (Ok(4096), Ok(0), Ok(512)));
        assert!(mib("-1Gi").is_err() && mib("4096").is_err() && mib("1.5").is_err());
        assert_eq!((cpu_limit("Unlimited"), memory_limit("unlimited")), (Ok(-1), Ok(-1)));
        assert!(cpu_limit("-1").is_err() && memory_limit("-1").is_err());
        assert_eq!((shares("High"), shares("7")), (Ok(Shares::High), Ok(Shares::Custom(7))));
        assert!(
            shares("custom").is_err() && shares("-7").is_err() && shares("3000000000").is_err()
        );
    }
}
