//! What a kernel's notes say.

use hypercall_abi::elf_note as number;
use hypercall_abi::version as feature;

use crate::error::ImageError;
use crate::image::Image;
use crate::plan::Features;

/// The notes that matter, as the image gives them; the last of equal ones counts.
#[derive(Default)]
pub(crate) struct Notes<'a> {
    pub(crate) entry: Option<u64>,
    pub(crate) hypercall_page: Option<u64>,
    pub(crate) virt_base: Option<u64>,
    pub(crate) paddr_offset: Option<u64>,
    pub(crate) xen_version: &'a [u8],
    pub(crate) guest_os: &'a [u8],
    pub(crate) loader: &'a [u8],
    pub(crate) features: &'a [u8],
    pub(crate) supported_features: Option<u64>,
    pub(crate) init_p2m: Option<u64>,
    pub(crate) mod_start_pfn: Option<u64>,
    pub(crate) pvh_entry: bool,
}

impl<'a> Notes<'a> {
    pub(crate) fn read(image: &Image<'a>) -> Result<Self, ImageError> {
        let mut notes = Self::default();
        image.each_note(|kind, contents| {
            // A type beyond 32 bits is none of ours.
            match u32::try_from(kind).unwrap_or(u32::MAX) {
                number::XEN_ELFNOTE_ENTRY => notes.entry = Some(integer(contents)),
                number::XEN_ELFNOTE_HYPERCALL_PAGE => {
                    notes.hypercall_page = Some(integer(contents))
                }
                number::XEN_ELFNOTE_VIRT_BASE => notes.virt_base = Some(integer(contents)),
                number::XEN_ELFNOTE_PADDR_OFFSET => notes.paddr_offset = Some(integer(contents)),
                number::XEN_ELFNOTE_XEN_VERSION => notes.xen_version = text(contents),
                number::XEN_ELFNOTE_GUEST_OS => notes.guest_os = text(contents),
                number::XEN_ELFNOTE_LOADER => notes.loader = text(contents),
                number::XEN_ELFNOTE_FEATURES => notes.features = text(contents),
                number::XEN_ELFNOTE_SUPPORTED_FEATURES => {
                    notes.supported_features = Some(bitmap(contents))
                }
                number::XEN_ELFNOTE_INIT_P2M => notes.init_p2m = Some(integer(contents)),
                number::XEN_ELFNOTE_MOD_START_PFN => notes.mod_start_pfn = Some(integer(contents)),
                number::XEN_ELFNOTE_PHYS32_ENTRY => notes.pvh_entry = true,
                _ => {}
            }
        })?;
        Ok(notes)
    }

    /// Features by name and by number together.
    pub(crate) fn all_features(&self) -> Result<Features, ImageError> {
        let mut features = Features {
            supported: self.supported_features.unwrap_or(0),
            required: 0,
            by_number: self.supported_features.is_some(),
        };
        for word in self
            .features
            .split(|&byte| byte == b'|')
            .map(<[u8]>::trim_ascii)
        {
            let required = word.first() == Some(&b'!');
            let name = word.strip_prefix(b"!").unwrap_or(word);
            match FEATURE_NAMES
                .iter()
                .find(|(known, _)| known.as_bytes() == name)
            {
                Some((_, bit)) => {
                    features.supported |= 1 << bit;
                    features.required |= u64::from(required) << bit;
                }
                None if required => return Err(ImageError::UnknownFeature),
                None => {}
            }
        }
        Ok(features)
    }
}

/// Features as `XEN_ELFNOTE_FEATURES` names them.
const FEATURE_NAMES: &[(&str, u32)] = &[
    (
        "writable_page_tables",
        feature::XENFEAT_WRITABLE_PAGE_TABLES,
    ),
    (
        "writable_descriptor_tables",
        feature::XENFEAT_WRITABLE_DESCRIPTOR_TABLES,
    ),
    (
        "auto_translated_physmap",
        feature::XENFEAT_AUTO_TRANSLATED_PHYSMAP,
    ),
    (
        "supervisor_mode_kernel",
        feature::XENFEAT_SUPERVISOR_MODE_KERNEL,
    ),
    ("pae_pgdir_above_4gb", feature::XENFEAT_PAE_PGDIR_ABOVE_4GB),
    (
        "mmu_pt_update_preserve_ad",
        feature::XENFEAT_MMU_PT_UPDATE_PRESERVE_AD,
    ),
    ("highmem_assist", feature::XENFEAT_HIGHMEM_ASSIST),
    (
        "gnttab_map_avail_bits",
        feature::XENFEAT_GNTTAB_MAP_AVAIL_BITS,
    ),
    ("hvm_callback_vector", feature::XENFEAT_HVM_CALLBACK_VECTOR),
    ("hvm_safe_pvclock", feature::XENFEAT_HVM_SAFE_PVCLOCK),
    ("hvm_pirqs", feature::XENFEAT_HVM_PIRQS),
    ("dom0", feature::XENFEAT_DOM0),
    (
        "memory_op_vnode_supported",
        feature::XENFEAT_MEMORY_OP_VNODE_SUPPORTED,
    ),
    (
        "linux_rsdp_unrestricted",
        feature::XENFEAT_LINUX_RSDP_UNRESTRICTED,
    ),
];

/// A number of 1, 2, 4 or 8 bytes; of any other length, 0.
fn integer(contents: &[u8]) -> u64 {
    if matches!(contents.len(), 1 | 2 | 4 | 8) {
        little_endian(contents)
    } else {
        0
    }
}

/// The first 64 bits of a bitmap.
fn bitmap(contents: &[u8]) -> u64 {
    little_endian(contents.get(..8).unwrap_or(contents))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A string, which may lack the NUL at its end.
fn text(contents: &[u8]) -> &[u8] {
    contents.split(|&byte| byte == 0).next().unwrap_or_default()
}
