//! Which facets a provider has, as `hyper context capabilities` prints it. A new facet has its
//! line here.

use crate::provider::Provider;

/// A facet, and whether a provider has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// The facet's name, as its file is called.
    pub facet: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
    /// Whether the provider has it.
    pub available: bool,
}

/// All facets, in the order of [`Provider`]'s methods.
pub fn capabilities(provider: &dyn Provider) -> Vec<Capability> {
    vec![
        Capability {
            facet: "export",
            summary: "Read disks and the machine's description",
            available: provider.export().is_some(),
        },
        Capability {
            facet: "feed",
            summary: "Follow machines as they change",
            available: provider.feed().is_some(),
        },
        Capability {
            facet: "events",
            summary: "Tell what happened to machines, and follow it",
            available: provider.events().is_some(),
        },
        Capability {
            facet: "alarms",
            summary: "Tell which alarms are triggered",
            available: provider.alarms().is_some(),
        },
        Capability {
            facet: "power",
            summary: "Switch machines on and off, restart and pause them",
            available: provider.power().is_some(),
        },
        Capability {
            facet: "console",
            summary: "Reach the serial line and the screen of machines",
            available: provider.console().is_some(),
        },
        Capability {
            facet: "create",
            summary: "Make machines",
            available: provider.create().is_some(),
        },
        Capability {
            facet: "lifecycle",
            summary: "Delete machines",
            available: provider.lifecycle().is_some(),
        },
        Capability {
            facet: "resize",
            summary: "Change how many processors and how much memory machines have",
            available: provider.resize().is_some(),
        },
        Capability {
            facet: "migrate",
            summary: "Move machines to other hosts",
            available: provider.migrate().is_some(),
        },
        Capability {
            facet: "pools",
            summary: "Make, change and remove resource pools",
            available: provider.pools().is_some(),
        },
        Capability {
            facet: "infrastructure",
            summary: "List hosts, clusters, datastores, networks and tasks",
            available: provider.infrastructure().is_some(),
        },
        Capability {
            facet: "rearrange",
            summary: "Put machines into other pools and folders, and on other networks",
            available: provider.rearrange().is_some(),
        },
        Capability {
            facet: "snapshots",
            summary: "Take, list, remove and return to snapshots of machines",
            available: provider.snapshots().is_some(),
        },
        Capability {
            facet: "cloning",
            summary: "Make machines of machines and of snapshots",
            available: provider.cloning().is_some(),
        },
        Capability {
            facet: "templates",
            summary: "Keep templates, and make machines from them",
            available: provider.templates().is_some(),
        },
        Capability {
            facet: "metrics",
            summary: "Count what there is and measure what is used",
            available: provider.metrics().is_some(),
        },
        Capability {
            facet: "reclaim",
            summary: "Remove what killed runs left on the platform",
            available: provider.reclaim().is_some(),
        },
    ]
}
