//! Builds an ordinary domain from a kernel, a ramdisk and a command line, in bounded steps.
//!
//! `kernel-image` says where everything lies and what page tables, start page and registers hold; this module turns that
//! into pages and writes them: `recipe` is what a domain is made from, `pages` computes the contents of any page of it, and
//! `build` gives the domain its frames, writes its pages, seeds its grants, pins its root and sets up vCPU 0. `nodes` is
//! what dom0 writes for it into the xenstore before it runs.
//!
//! A build that fails leaves a domain for the caller to destroy, and nothing else.

mod build;
mod nodes;
mod pages;
mod recipe;

pub use build::{Build, BuildError, Built, Step};
pub(crate) use nodes::availability;
pub use nodes::{Profile, operations, removal};
pub use recipe::{Recipe, RecipeError};
