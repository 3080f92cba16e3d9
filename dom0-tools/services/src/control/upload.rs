//! Files that clients send: asked for only if they are not there already.

use super::{
    create::OWN_RESERVE,
    files::{Arrival, Arriving},
    host::Host,
    manager::Manager,
    size::Size,
    stream::{UPLOAD_WINDOW, Work},
};
use alloc::format;
use dom0_protocol::{
    ErrorCode, ErrorReply, Reply, StreamId,
    progress::Unit,
    reply::{Stored, Uploaded},
    request::Upload,
};

impl<H: Host> Manager<H> {
    pub(super) fn upload(&mut self, id: StreamId, wish: &Upload) -> Result<(), ErrorReply> {
        if self.files.hold(&wish.sha256, id.connection()) {
            self.done(id, uploaded(wish.sha256, Stored::Present));
            return Ok(());
        }
        let length = usize::try_from(wish.length).unwrap_or(usize::MAX);
        if length == 0 {
            return Err(
                ErrorReply::new(ErrorCode::InvalidArgument, "the file is empty")
                    .hint("a kernel or ramdisk has at least one byte"),
            );
        }
        let full = |available: usize| {
            let available = u64::try_from(available).unwrap_or(u64::MAX);
            let text = format!(
                "dom0 has room for {} more of files, not {}",
                Size(available),
                Size(wish.length)
            );
            ErrorReply::new(ErrorCode::StoreFull, text)
                .hint(
                    "destroy domains whose files are not needed any more, or boot with more for dom0: files may take half of `dom0_mem`",
                )
                .amounts(Unit::Bytes, wish.length, available)
        };
        let spare = self.host.spare_bytes().saturating_sub(OWN_RESERVE);
        if wish.length > spare {
            return Err(full(usize::try_from(spare).unwrap_or(usize::MAX)));
        }
        self.files
            .reserve(length)
            .map_err(|error| full(error.available))?;
        let Some(arriving) = Arriving::new(wish.sha256, length) else {
            self.files.unreserve(length);
            return Err(full(0));
        };
        self.work_on(id, Work::Upload(arriving), UPLOAD_WINDOW);
        Ok(())
    }

    pub(super) fn take_piece(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let Work::Upload(arriving) = &mut stream.work else {
            return;
        };
        let (digest, length) = (arriving.digest, arriving.length);
        match arriving.push(bytes) {
            Arrival::Partial => {
                stream.receiver.consume(bytes.len());
                self.announce(id);
            }
            Arrival::Complete(content) => {
                self.done(id, uploaded(digest, Stored::New));
                self.files.insert(digest, content, id.connection());
            }
            Arrival::Wrong => {
                let got = arriving.received();
                let text = format!(
                    "the file's content is not what its digest {digest} and length {length} say ({got} bytes came)"
                );
                self.fail(
                    id,
                    ErrorReply::new(ErrorCode::BadUpload, text).hint("send it again"),
                );
            }
        }
    }
}

const fn uploaded(sha256: dom0_protocol::Digest, stored: Stored) -> Reply {
    Reply::Uploaded(Uploaded { sha256, stored })
}
