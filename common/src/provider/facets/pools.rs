//! Resource pools: shares of what hosts have, for the VMs in them.

use async_trait::async_trait;
use serde::Serialize;

use super::named::Named;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// A limit that is none.
pub const UNLIMITED: i64 = -1;

/// The pools facet. Who changes something has held it against [`Pool::check`] before.
#[async_trait]
pub trait Pools: Send + Sync {
    /// All pools: each behind the one that it is in, else by name.
    ///
    /// # Errors
    /// Those of the platform.
    async fn all(&self) -> Result<Vec<Pool>>;

    /// Makes a pool in another; answers its id.
    ///
    /// # Errors
    /// `Conflict` for a name that is taken, or where the pool around it has not that much to give.
    async fn create(&self, parent: &Pool, new: &NewPool) -> Result<String>;

    /// Changes what is named of a pool, and nothing else.
    ///
    /// # Errors
    /// As [`Pools::create`]; `Conflict` where it was changed since it was read.
    async fn update(&self, pool: &Pool, change: &PoolChange) -> Result<()>;

    /// Removes a pool.
    ///
    /// # Errors
    /// `NotFound` where it is gone; `Interrupted` or `TimedOut` when asked to stop waiting: it is
    /// being removed then.
    async fn delete(&self, pool: &Pool, cancel: &Cancel) -> Result<Left>;
}

/// A pool. What the platform does not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// What the provider calls it.
    pub id: String,
    /// Its name; several may have it.
    pub name: String,
    /// Its path in the inventory.
    pub path: Option<String>,
    /// What it is.
    pub kind: PoolKind,
    /// The id of the pool that it is in; `None` for the own one of a cluster or host.
    pub parent: Option<String>,
    /// The path of that pool, else of the cluster or host.
    pub parent_path: Option<String>,
    /// In how many pools it is.
    pub depth: u32,
    /// The cluster or host whose resources it shares.
    pub cluster: Option<String>,
    /// The datacenter that it is in.
    pub datacenter: Option<String>,
    /// Processors: MHz.
    pub cpu: Allocation,
    /// Memory: MiB.
    pub memory: Allocation,
    /// Use of processors: MHz.
    pub cpu_use: PoolUsage,
    /// Use of memory: bytes.
    pub memory_use: PoolUsage,
    /// The VMs right in it.
    pub vms: u32,
    /// The pools right in it.
    pub pools: u32,
    /// How the platform finds it to be: `green`.
    pub status: Option<String>,
    /// The state of its configuration, for changes that must not undo another's.
    pub version: Option<String>,
}

/// What a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PoolKind {
    /// The own one of a cluster or host, which comes and goes with it.
    Root,
    /// One that people made.
    #[default]
    Pool,
    /// VMs that are started and stopped together.
    Vapp,
}

impl PoolKind {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Pool => "pool",
            Self::Vapp => "vapp",
        }
    }
}

/// How much a pool is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// What is kept for it.
    pub reservation: Option<i64>,
    /// The most that it gets; [`UNLIMITED`].
    pub limit: Option<i64>,
    /// Whether it may take from the pool around it what its reservation lacks.
    pub expandable: Option<bool>,
    /// What it gets where there is not enough for all.
    pub shares: Option<Shares>,
}

/// Weights against those of other pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shares {
    /// Half of the normal.
    Low,
    /// What pools have unless somebody said otherwise.
    Normal,
    /// Twice the normal.
    High,
    /// So many.
    Custom(u32),
}

impl Shares {
    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Custom(_) => "custom",
        }
    }
}

/// How much of it is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolUsage {
    /// What its VMs use now.
    pub used: Option<u64>,
    /// What they could use at most, by its limit and those of the pools around it.
    pub most: Option<u64>,
    /// What of its reservation is given on to pools and VMs in it.
    pub reserved: Option<u64>,
    /// What can still be reserved by pools in it.
    pub unreserved: Option<u64>,
    /// The weight that the shares come to.
    pub weight: Option<i64>,
}

/// A pool to be made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewPool {
    /// Its name.
    pub name: String,
    /// Processors, as far as they are not as usual: MHz.
    pub cpu: AllocationChange,
    /// Memory, as far as it is not as usual: MiB.
    pub memory: AllocationChange,
}

/// What is to be changed of a pool.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PoolChange {
    /// Its name.
    pub name: Option<String>,
    /// Processors: MHz.
    pub cpu: AllocationChange,
    /// Memory: MiB.
    pub memory: AllocationChange,
}

/// What is to be changed of an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AllocationChange {
    /// What is kept for it.
    pub reservation: Option<i64>,
    /// The most that it gets; [`UNLIMITED`].
    pub limit: Option<i64>,
    /// Whether it may take more from around it.
    pub expandable: Option<bool>,
    /// Its weight.
    pub shares: Option<Shares>,
}

/// What became of the things that were in a pool that was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Pools that are now in the pool around it.
    pub pools: usize,
    /// VMs that are now there.
    pub vms: usize,
    /// Pools and VMs that are not.
    pub gone: usize,
}

impl Allocation {
    /// What a new pool has where nothing else is said.
    pub fn usual() -> Self {
        Self {
            reservation: Some(0),
            limit: Some(UNLIMITED),
            expandable: Some(true),
            shares: Some(Shares::Normal),
        }
    }

    /// The same with a change.
    #[must_use]
    pub fn with(&self, change: &AllocationChange) -> Self {
        Self {
            reservation: change.reservation.or(self.reservation),
            limit: change.limit.or(self.limit),
            expandable: change.expandable.or(self.expandable),
            shares: change.shares.or(self.shares),
        }
    }

    /// Whether there can be such.
    fn check(&self, what: &str, unit: &str) -> Result<()> {
        match (self.reservation, self.limit) {
            (Some(reservation), Some(limit)) if limit != UNLIMITED && reservation > limit => {
                Err(Error::usage(format!(
                    "the {what} reservation of {reservation} {unit} is above the limit of {limit} {unit}"
                ))
                .with_hint("raise the limit, or set it to `unlimited`"))
            }
            _ => Ok(()),
        }
    }
}

impl Pool {
    /// What a new pool would be.
    ///
    /// # Errors
    /// As [`Pool::check`].
    pub fn planned(parent: &Self, new: &NewPool, all: &[Self]) -> Result<Self> {
        let pool = Self {
            name: new.name.clone(),
            path: parent.path.as_ref().map(|path| format!("{path}/{}", new.name)),
            parent: Some(parent.id.clone()),
            parent_path: parent.path.clone(),
            depth: parent.depth + 1,
            cluster: parent.cluster.clone(),
            datacenter: parent.datacenter.clone(),
            cpu: Allocation::usual().with(&new.cpu),
            memory: Allocation::usual().with(&new.memory),
            ..Self::default()
        };
        pool.check(all)?;
        Ok(pool)
    }

    /// What it would be with a change.
    ///
    /// # Errors
    /// As [`Pool::check`]; `Unsupported` for the own pool of a cluster or host.
    pub fn with(&self, change: &PoolChange, all: &[Self]) -> Result<Self> {
        if self.kind == PoolKind::Root {
            return Err(Error::unsupported(
                "the server itself sets the own pool of a cluster or host",
            ));
        }
        let mut pool = self.clone();
        if let Some(name) = &change.name {
            pool.name.clone_from(name);
            pool.path = self.parent_path.as_ref().map(|path| format!("{path}/{name}"));
        }
        pool.cpu = self.cpu.with(&change.cpu);
        pool.memory = self.memory.with(&change.memory);
        pool.check(all)?;
        Ok(pool)
    }

    /// Whether there can be such a pool among `all`.
    ///
    /// # Errors
    /// `PoolUsage` for a reservation above the limit, or a name that is none; `Conflict` for a name
    /// that is taken.
    fn check(&self, all: &[Self]) -> Result<()> {
        if self.name.is_empty() || self.name.contains('/') {
            return Err(Error::usage("a pool's name has no / and is not empty")
                .with_subject(self.name.clone())
                .with_hint("--parent says in which pool it is to be"));
        }
        self.cpu.check("cpu", "MHz")?;
        self.memory.check("memory", "MiB")?;
        let taken =
            |it: &&Self| it.parent == self.parent && it.id != self.id && it.name == self.name;
        match all.iter().find(taken) {
            None => Ok(()),
            Some(there) => Err(Error::conflict("there is such a pool already")
                .with_subject(there.path.clone().unwrap_or_else(|| there.name.clone()))),
        }
    }
}

impl Named for Pool {
    const WORD: &'static str = "resource pool";

    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn owner_path(&self) -> Option<&str> {
        self.parent_path.as_deref().filter(|_| self.kind == PoolKind::Root)
    }
}

/// Puts pools behind the ones that they are in, by name, and says how deep they are. One whose
/// parent is not among them is at the top; none is lost, whatever the server says.
pub fn in_order(mut pools: Vec<Pool>) -> Vec<Pool> {
    pools.sort_by(|a, b| (&a.parent_path, &a.name, &a.id).cmp(&(&b.parent_path, &b.name, &b.id)));
    let known: std::collections::HashSet<String> = pools.iter().map(|it| it.id.clone()).collect();
    let mut below: std::collections::HashMap<Option<String>, Vec<Pool>> = Default::default();
    for pool in pools {
        let parent = pool.parent.clone().filter(|parent| known.contains(parent));
        below.entry(parent).or_default().push(pool);
    }
    let mut ordered = Vec::new();
    let mut open: Vec<(Pool, u32)> = Vec::new();
    open.extend(below.remove(&None).unwrap_or_default().into_iter().rev().map(|it| (it, 0)));
    while let Some((pool, depth)) = open.pop() {
        let children = below.remove(&Some(pool.id.clone())).unwrap_or_default();
        open.extend(children.into_iter().rev().map(|it| (it, depth.saturating_add(1))));
        ordered.push(Pool { depth, ..pool });
    }
    // Those that are in each other.
    let mut lost: Vec<Pool> = below.into_values().flatten().collect();
    lost.sort_by(|a, b| a.id.cmp(&b.id));
    ordered.extend(lost);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(id: &str, parent: Option<&str>, name: &str) -> Pool {
        let path = Some(format!("/{name}"));
        Pool {
            id: id.into(),
            parent: parent.map(Into::into),
            name: name.into(),
            path,
            ..Pool::default()
        }
    }

    #[test]
    fn pools_stand_behind_those_that_they_are_in_and_none_is_lost() {
        let all = vec![
            pool("c", Some("a"), "y"),
            pool("b", Some("a"), "z"),
            pool("e", Some("c"), "a"),
            pool("d", Some("gone"), "q"),
            pool("a", None, "r"),
            pool("x", Some("x2"), "loop"),
            pool("x2", Some("x"), "loop"),
        ];
        let ordered = in_order(all);
        let seen: Vec<_> = ordered.iter().map(|it| (it.id.as_str(), it.depth)).collect();
        let expected = [("d", 0), ("a", 0), ("c", 1), ("e", 2), ("b", 1), ("x", 0), ("x2", 0)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_cannot_be_is_refused_and_what_is_not_named_stays() {
        let around = Pool { cpu: Allocation::usual(), ..pool("a", None, "around") };
        let there = Pool {
            cpu: Allocation { limit: Some(100), ..Allocation::usual() },
            memory: Allocation::usual(),
            ..pool("b", Some("a"), "there")
        };
        let all = [around.clone(), there.clone()];
        let cpu = |reservation, limit| AllocationChange {
            reservation,
            limit,
            ..AllocationChange::default()
        };
        let change = |cpu| PoolChange { cpu, ..PoolChange::default() };
        let status =
            |change: &PoolChange| there.with(change, &all).unwrap_err().kind().exit_status();
        assert_eq!(status(&change(cpu(Some(101), None))), 2);
        let more = there.with(&change(cpu(Some(101), Some(UNLIMITED))), &all).unwrap();
        assert_eq!((more.cpu.reservation, more.cpu.limit), (Some(101), Some(UNLIMITED)));
        assert_eq!((&more.memory, more.cpu.expandable), (&there.memory, Some(true)));
        assert!(there.with(&change(cpu(Some(100), None)), &all).is_ok());
        let named = |name: &str| NewPool { name: name.into(), ..NewPool::default() };
        let new = Pool::planned(&around, &named("new"), &all).unwrap();
        assert_eq!((new.path.as_deref(), new.depth), (Some("/around/new"), 1));
        for (name, status) in [("there", 6), ("a/b", 2), ("", 2)] {
            let error = Pool::planned(&around, &named(name), &all).unwrap_err();
            assert_eq!(error.kind().exit_status(), status, "{name}");
        }
        assert!(Pool::planned(&there, &named("there"), &all).is_ok(), "in another pool");
        let root = Pool { kind: PoolKind::Root, ..around };
        assert_eq!(root.with(&change(cpu(None, None)), &all).unwrap_err().kind().exit_status(), 7);
    }
}
