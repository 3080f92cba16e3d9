//! Builds: the images that run on the machine, and what is packed around them.

pub(crate) mod archive;
pub(crate) mod bare;
pub(crate) mod bundle;
pub(crate) mod file;
pub(crate) mod iso;
pub(crate) mod metadata;
pub(crate) mod symbols;
