//! Writes the table of function names into the linked hypervisor, where its panics look names up.
//!
//! Addresses are known only after linking, so the image has empty room for the table, at the symbol `PARAVANE_SYMBOLS`;
//! `hypervisor-arch/src/symbols.rs` says how it is laid out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use elf::ElfBytes;
use elf::abi::STT_FUNC;
use elf::endian::LittleEndian;

const ROOM: &str = "PARAVANE_SYMBOLS";
const TEXT: &str = "text_start";

/// What the image's symbol table says.
#[derive(Debug)]
struct Found {
    /// Address and name of each function, ascending.
    functions: Vec<(u64, String)>,
    /// First address of the text.
    text: u64,
    /// The room's bytes in the file.
    room: std::ops::Range<usize>,
}

/// Fills the table of an image.
pub(crate) fn fill(image: &Path) -> Result<()> {
    let mut bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let found = find(&bytes).with_context(|| format!("symbols of {}", image.display()))?;
    let table = table(&found.functions, found.text)?;
    let room = bytes
        .get_mut(found.room)
        .context("the table's room lies outside the file")?;
    if table.len() > room.len() {
        bail!("the names need {} bytes of {}", table.len(), room.len());
    }
    room.fill(0);
    room[..table.len()].copy_from_slice(&table);
    fs::write(image, bytes).with_context(|| format!("cannot write {}", image.display()))
}

fn find(bytes: &[u8]) -> Result<Found> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(bytes)?;
    let (symbols, names) = file.symbol_table()?.context("there is no symbol table")?;
    let (mut functions, mut text, mut room) = (Vec::new(), None, None);
    for symbol in symbols.iter() {
        let name = names.get(symbol.st_name as usize)?;
        if name == ROOM {
            let section = file
                .section_headers()
                .context("there are no sections")?
                .get(symbol.st_shndx.into())?;
            let start = symbol.st_value - section.sh_addr + section.sh_offset;
            let start = usize::try_from(start)?;
            room = Some(start..start + usize::try_from(symbol.st_size)?);
        } else if name == TEXT {
            text = Some(symbol.st_value);
        } else if symbol.st_symtype() == STT_FUNC {
            functions.push((
                symbol.st_value,
                format!("{:#}", rustc_demangle::demangle(name)),
            ));
        }
    }
    functions.sort();
    functions.dedup_by_key(|function| function.0);
    Ok(Found {
        functions,
        text: text.with_context(|| format!("there is no {TEXT}"))?,
        room: room.with_context(|| format!("there is no {ROOM}"))?,
    })
}

fn table(functions: &[(u64, String)], text: u64) -> Result<Vec<u8>> {
    let mut table = u32::try_from(functions.len())?.to_le_bytes().to_vec();
    let mut names = Vec::new();
    for (address, name) in functions {
        let distance = address
            .checked_sub(text)
            .with_context(|| format!("{name} lies below the text"))?;
        table.extend(u32::try_from(distance)?.to_le_bytes());
        table.extend(u32::try_from(names.len())?.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    table.extend(names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_distances_and_places_of_names() {
        let functions = [(0x1010, "a".to_owned()), (0x1040, "bc".to_owned())];
        let table = table(&functions, 0x1000).unwrap();
        let words: Vec<u32> = table[..20]
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [2, 0x10, 0, 0x40, 2]);
        assert_eq!(&table[20..], b"a\0bc\0");
    }

    #[test]
    fn a_function_below_the_text_is_refused() {
        assert!(table(&[(0xfff, "a".to_owned())], 0x1000).is_err());
    }

    #[test]
    fn a_file_that_is_no_elf_is_refused() {
        assert!(find(b"nothing").is_err());
    }
}
