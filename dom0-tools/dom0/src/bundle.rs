//! dom0's ramdisk: a newc archive with the demo kernel.

use alloc::vec::Vec;

use guest_kernel::paging;
use guest_kernel::start::Boot;

/// The demo kernel's name in the archive.
const DEMO: &str = "demo";

/// The demo kernel, if the ramdisk has one.
pub(crate) fn demo(boot: &'static Boot) -> Option<Vec<u8>> {
    let archive = paging::ramdisk(boot)?;
    let file = cpio_reader::iter_files(archive)
        .find(|file| file.name().trim_start_matches("./") == DEMO)?;
    Some(file.file().to_vec())
}
