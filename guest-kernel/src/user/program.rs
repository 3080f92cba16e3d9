//! A program's address space: its code, and a page for each thread.

use hypercall_abi::mmu::EntryFlags;

use super::thread::Thread;
use crate::heap::Page;
use crate::paging::{PAGE_SIZE, PagingError, UserTables, frame_at};

/// Where the code is.
const CODE: usize = 0x40_0000;
/// Where the first thread's page is; the others' follow, each with a hole behind it.
const THREADS: usize = 0x7f00_0000_0000;
/// From one thread's page to the next.
const THREAD_STRIDE: usize = 2 * PAGE_SIZE;

/// A program in its own address space. Its memory stays for the life of the domain.
#[derive(Debug)]
pub struct Program {
    tables: UserTables,
    threads: usize,
}

impl Program {
    /// Loads code of up to a page; it starts at its first byte, and finds its thread's page in RBX.
    ///
    /// # Errors
    /// Out of memory.
    pub fn load(code: &[u8]) -> Result<Self, PagingError> {
        let mut page = Page::zeroed().ok_or(PagingError::OutOfMemory)?;
        page.bytes()
            .get_mut(..code.len())
            .ok_or(PagingError::OutOfMemory)?
            .copy_from_slice(code);
        let frame = frame_at(page.leak()).ok_or(PagingError::NoFrames)?;
        let mut tables = UserTables::new()?;
        tables.map(CODE, frame, EntryFlags::empty())?;
        Ok(Self { tables, threads: 0 })
    }

    /// A thread that starts at the code's first byte, with a page of its own as memory and stack.
    ///
    /// # Errors
    /// Out of memory.
    pub fn thread(&mut self) -> Result<Thread, PagingError> {
        let address = THREADS + self.threads * THREAD_STRIDE;
        let page = Page::zeroed().ok_or(PagingError::OutOfMemory)?;
        let frame = frame_at(page.leak()).ok_or(PagingError::NoFrames)?;
        self.tables.map(address, frame, EntryFlags::WRITABLE)?;
        self.threads += 1;
        Thread::new(self.tables.root(), CODE, address).ok_or(PagingError::OutOfMemory)
    }
}
