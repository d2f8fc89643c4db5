//! The tools of this release: their names and what each does in one line. `hyper --list`, the
//! help of each tool and the man pages take their words from here.

/// A tool's name, as a program, and its summary: imperative, without a full stop.
pub const TOOLS: [(&str, &str); 15] = [
    ("hyper-clone", "Make virtual machines of virtual machines"),
    ("hyper-console", "Reach the serial line and the screen of virtual machines"),
    ("hyper-context", "Manage the contexts that name platforms and folders"),
    ("hyper-events", "Show and follow what happened to virtual machines"),
    ("hyper-export", "Export virtual machines to disk images and packages"),
    ("hyper-history", "Show and clean up after earlier runs"),
    ("hyper-image", "Convert, inspect, verify and compare disk images"),
    ("hyper-infra", "List hosts, clusters, datacenters, datastores, networks and tasks"),
    ("hyper-metrics", "Count virtual machines and measure what they use"),
    ("hyper-pool", "List, make, change and remove resource pools"),
    ("hyper-sim", "Simulate platforms, for trying and testing"),
    ("hyper-snapshot", "Take, list and remove snapshots of virtual machines, and return to them"),
    ("hyper-template", "Keep templates of virtual machines, and make machines from them"),
    ("hyper-vm", "List, make, start, stop and change virtual machines"),
    ("hyper-watch", "Follow virtual machines as they change"),
];

/// The summary of the dispatcher itself.
pub const HYPER: &str = "Run the hyper tools";

/// The summary of a tool.
pub fn summary(name: &str) -> Option<&'static str> {
    TOOLS.iter().find(|(tool, _)| *tool == name).map(|&(_, summary)| summary)
}
