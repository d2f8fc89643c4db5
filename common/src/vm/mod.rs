//! The words for virtual machines: the neutral hardware description that every source fills and
//! every target is written from.

pub mod machine;
