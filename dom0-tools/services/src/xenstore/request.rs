//! One request, from the kind of message to what it does. The order of checks is the wire protocol's: kind, privilege,
//! transaction, payload.

use super::{
    Access, Action, Caller, Entry, Error, Kind, Message, Operation, PAYLOAD_MAX, Path, Permissions,
    Server, TransactionId,
    transaction::Change,
    tree::Node,
    watch::{Event, Form, Token, Watches},
    wire::{domain, number, one_string, string_and_rest, strings, with_nul},
};
use crate::DomId;
use alloc::{format, sync::Arc, vec::Vec};

/// What an accepted request leads to.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) payload: Vec<u8>,
    pub(super) events: Vec<Event>,
    pub(super) action: Option<Action>,
}

/// What is asked of a node.
#[derive(Clone, Copy, Debug)]
enum Query {
    Value,
    Permissions,
    Names,
    NamesFrom(u64),
}

impl Answer {
    fn text(text: &str) -> Self {
        Self::bytes(with_nul(text))
    }

    fn bytes(payload: Vec<u8>) -> Self {
        Self {
            payload,
            ..Self::default()
        }
    }

    fn ok() -> Self {
        Self::text("OK")
    }
}

impl Server {
    pub(super) fn answer(&mut self, who: DomId, request: &Message) -> Result<Answer, Error> {
        let kind = Kind::from_number(request.kind).ok_or(Error::NotImplemented)?;
        let connection = self.connections.get(&who).ok_or(Error::Denied)?;
        let caller = connection.caller;
        if matches!(kind, Kind::WatchEvent | Kind::Error) {
            return Err(Error::NotImplemented);
        }
        if needs_privilege(kind) && !caller.is_privileged() {
            return Err(Error::Denied);
        }
        let transaction = match (kind, TransactionId::new(request.transaction)) {
            (Kind::Watch | Kind::Unwatch, _) | (_, None) => None,
            (_, Some(id)) if !connection.has(id) => return Err(Error::NoEntry),
            (_, Some(id)) => Some(id),
        };
        let payload = &request.payload;
        match kind {
            Kind::Directory => self.read(caller, transaction, one_string(payload)?, Query::Names),
            Kind::Read => self.read(caller, transaction, one_string(payload)?, Query::Value),
            Kind::GetPermissions => self.read(
                caller,
                transaction,
                one_string(payload)?,
                Query::Permissions,
            ),
            Kind::DirectoryPart => {
                let [path, offset] = strings(payload)?;
                self.read(caller, transaction, path, Query::NamesFrom(number(offset)?))
            }
            Kind::Write => self.change(caller, transaction, &write(payload, who)?),
            Kind::MakeDirectory => {
                let path = Path::parse(one_string(payload)?, who)?;
                self.change(caller, transaction, &Operation::MakeDirectory { path })
            }
            Kind::Remove => {
                let path = Path::parse(one_string(payload)?, who)?;
                self.change(caller, transaction, &Operation::Remove { path })
            }
            Kind::SetPermissions => self.change(caller, transaction, &permissions(payload, who)?),
            Kind::Watch => self.watch(who, payload),
            Kind::Unwatch => self.unwatch(who, payload),
            Kind::ResetWatches => self.reset_watches(who, payload),
            Kind::TransactionStart => self.start(who, transaction, payload),
            Kind::TransactionEnd => self.end(who, transaction, payload),
            Kind::GetDomainPath => {
                let home = Path::home(domain(one_string(payload)?)?);
                Ok(Answer::text(home.as_str()))
            }
            Kind::Control => control(payload),
            Kind::Introduce => introduce(payload),
            Kind::Release => self.answer_release(payload),
            Kind::IsDomainIntroduced => {
                let known = self.is_introduced(domain(one_string(payload)?)?);
                Ok(Answer::text(if known { "T" } else { "F" }))
            }
            Kind::Resume => self.resume(payload),
            Kind::SetTarget => self.set_target(payload),
            Kind::WatchEvent | Kind::Error => Err(Error::NotImplemented),
        }
    }

    fn read(
        &mut self,
        caller: Caller,
        transaction: Option<TransactionId>,
        text: &[u8],
        query: Query,
    ) -> Result<Answer, Error> {
        let path = match query {
            Query::Permissions => Path::parse_or_special(text, caller.domain)?,
            Query::Names | Query::Value | Query::NamesFrom(_) => Path::parse(text, caller.domain)?,
        };
        self.check_length(caller, &path)?;
        if path.is_special() {
            let list = self.special.get(path.as_str()).ok_or(Error::NoEntry)?;
            return if list.allow(caller, Access::Read) {
                Ok(Answer::bytes(list.to_text()))
            } else {
                Err(Error::Denied)
            };
        }
        let store = match transaction {
            None => &self.store,
            Some(id) => {
                let connection = self
                    .connections
                    .get_mut(&caller.domain)
                    .ok_or(Error::NoEntry)?;
                connection
                    .transaction(id)?
                    .read(caller, &path, &self.quota)?
            }
        };
        let node = store.get(caller, &path, Access::Read)?;
        Ok(Answer::bytes(match query {
            Query::Value => node.value.to_vec(),
            Query::Permissions => node.permissions.to_text(),
            Query::Names => names(node),
            Query::NamesFrom(offset) => directory_part(node, offset)?,
        }))
    }

    fn change(
        &mut self,
        caller: Caller,
        transaction: Option<TransactionId>,
        operation: &Operation,
    ) -> Result<Answer, Error> {
        self.check_length(caller, operation.path())?;
        if operation.path().is_special() {
            return self.set_special(caller, operation);
        }
        let quota = self.quota;
        let Some(id) = transaction else {
            let mut next = self.store.clone();
            let effect = next.apply(caller, operation, &quota)?;
            let path = operation.path().clone();
            let events = self.replace_store(next, &[Change { path, effect }]);
            return Ok(Answer {
                events,
                ..Answer::ok()
            });
        };
        let connection = self
            .connections
            .get_mut(&caller.domain)
            .ok_or(Error::NoEntry)?;
        let full = connection.transaction_bytes() + operation.weight() > quota.transaction_bytes;
        let transaction = connection.transaction(id)?;
        if full && !caller.is_privileged() {
            transaction.spoil();
            return Err(Error::NoSpace);
        }
        transaction.apply(caller, operation, &quota)?;
        Ok(Answer::ok())
    }

    fn set_special(&mut self, caller: Caller, operation: &Operation) -> Result<Answer, Error> {
        let Operation::SetPermissions { path, list } = operation else {
            return Err(Error::Invalid);
        };
        if !caller.is_privileged() {
            return Err(Error::Denied);
        }
        let slot = self.special.get_mut(path.as_str()).ok_or(Error::NoEntry)?;
        *slot = list.clone();
        Ok(Answer::ok())
    }

    fn watch(&mut self, who: DomId, payload: &[u8]) -> Result<Answer, Error> {
        let (path, form, token) = watch_arguments(payload, who)?;
        let privileged = who.is_dom0();
        if !privileged && path.counted_length() > self.quota.path_bytes {
            return Err(Error::Invalid);
        }
        let full = self.watches.count(who) >= self.quota.watches
            || self.watches.names_with(who, &path) > self.quota.watch_names;
        if !privileged && full {
            return Err(Error::NoSpace);
        }
        self.watches.add(who, &path, &token, form)?;
        let events = alloc::vec![Watches::first_event(who, &path, &token, form)];
        Ok(Answer {
            events,
            ..Answer::ok()
        })
    }

    fn unwatch(&mut self, who: DomId, payload: &[u8]) -> Result<Answer, Error> {
        let (path, _, token) = watch_arguments(payload, who)?;
        self.watches.remove(who, &path, &token)?;
        Ok(Answer::ok())
    }

    fn reset_watches(&mut self, who: DomId, payload: &[u8]) -> Result<Answer, Error> {
        one_string(payload)?;
        self.watches.forget(who);
        if let Some(connection) = self.connections.get_mut(&who) {
            connection.drop_transactions();
        }
        self.turn.done(who, self.now);
        Ok(Answer::ok())
    }

    fn start(
        &mut self,
        who: DomId,
        inside: Option<TransactionId>,
        payload: &[u8],
    ) -> Result<Answer, Error> {
        if inside.is_some() {
            return Err(Error::Busy);
        }
        one_string(payload)?;
        let connection = self.connections.get_mut(&who).ok_or(Error::NoEntry)?;
        let id = connection.start(&self.store, &self.quota)?;
        Ok(Answer::text(&format!("{}", id.get())))
    }

    fn end(
        &mut self,
        who: DomId,
        id: Option<TransactionId>,
        payload: &[u8],
    ) -> Result<Answer, Error> {
        let commit = match one_string(payload)? {
            b"T" => true,
            b"F" => false,
            _ => return Err(Error::Invalid),
        };
        let id = id.ok_or(Error::NoEntry)?;
        let connection = self.connections.get_mut(&who).ok_or(Error::NoEntry)?;
        let caller = connection.caller;
        let transaction = connection.end(id)?;
        if !commit {
            self.turn.done(who, self.now);
            return Ok(Answer::ok());
        }
        match transaction.commit(&self.store, caller, &self.quota) {
            Ok((next, changes)) => {
                self.turn.done(who, self.now);
                let events = self.replace_store(next, &changes);
                Ok(Answer {
                    events,
                    ..Answer::ok()
                })
            }
            Err(error) => {
                if error == Error::Again {
                    self.turn.lost(who, self.now);
                }
                Err(error)
            }
        }
    }

    fn answer_release(&mut self, payload: &[u8]) -> Result<Answer, Error> {
        let domain = domain(one_string(payload)?)?;
        if domain.is_dom0() {
            return Err(Error::Invalid);
        }
        if self.connections.get(&domain).is_none() {
            return Err(Error::NoEntry);
        }
        Ok(Answer {
            action: Some(Action::Release { domain }),
            ..Answer::ok()
        })
    }

    fn resume(&mut self, payload: &[u8]) -> Result<Answer, Error> {
        let domain = domain(one_string(payload)?)?;
        self.note_resumed(domain)
            .then(Answer::ok)
            .ok_or(Error::NoEntry)
    }

    fn set_target(&mut self, payload: &[u8]) -> Result<Answer, Error> {
        let [helper, target] = strings(payload)?;
        let (helper, target) = (domain(helper)?, domain(target)?);
        if self.connections.get(&target).is_none() {
            return Err(Error::NoEntry);
        }
        let connection = self.connections.get_mut(&helper).ok_or(Error::NoEntry)?;
        connection.caller.target = Some(target);
        Ok(Answer::ok())
    }

    fn check_length(&self, caller: Caller, path: &Path) -> Result<(), Error> {
        if !caller.is_privileged() && path.counted_length() > self.quota.path_bytes {
            return Err(Error::Invalid);
        }
        Ok(())
    }
}

const fn needs_privilege(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Control
            | Kind::Introduce
            | Kind::Release
            | Kind::IsDomainIntroduced
            | Kind::Resume
            | Kind::SetTarget
    )
}

/// A WRITE: the value is all that stands behind the path's NUL.
fn write(payload: &[u8], who: DomId) -> Result<Operation, Error> {
    let (path, value) = string_and_rest(payload)?;
    let path = Path::parse(path, who)?;
    let value = Arc::from(value);
    Ok(Operation::Write { path, value })
}

/// A SET_PERMS: a path, special ones too, and the entries.
fn permissions(payload: &[u8], who: DomId) -> Result<Operation, Error> {
    let (path, list) = string_and_rest(payload)?;
    let path = Path::parse_or_special(path, who)?;
    let list = one_or_more_entries(list)?;
    Ok(Operation::SetPermissions { path, list })
}

/// A permission list in text form: each entry with its NUL.
fn one_or_more_entries(text: &[u8]) -> Result<Permissions, Error> {
    let text = text.strip_suffix(&[0]).ok_or(Error::Invalid)?;
    let entries: Result<Vec<Entry>, Error> =
        text.split(|byte| *byte == 0).map(Entry::parse).collect();
    Permissions::from_entries(&entries?)
}

/// Path, form and token of a watch. A third string, the depth of newer servers, is refused.
fn watch_arguments(payload: &[u8], who: DomId) -> Result<(Path, Form, Token), Error> {
    let [path, token] = strings(payload)?;
    let form = match path.first() {
        Some(b'/' | b'@') => Form::Absolute,
        _ => Form::Relative,
    };
    Ok((Path::parse_or_special(path, who)?, form, Arc::from(token)))
}

/// All names with their NULs.
fn names(node: &Node) -> Vec<u8> {
    node.children()
        .flat_map(|(name, _)| with_nul(name))
        .collect()
}

/// The generation, then whole names from a byte offset on; an extra NUL behind the last.
fn directory_part(node: &Node, offset: u64) -> Result<Vec<u8>, Error> {
    let all = names(node);
    let offset = usize::try_from(offset).map_err(|_| Error::Invalid)?;
    let rest = all.get(offset..).ok_or(Error::Invalid)?;
    let mut part = with_nul(&format!("{}", node.generation.get()));
    for name in rest.split_inclusive(|byte| *byte == 0) {
        if part.len() + name.len() > PAYLOAD_MAX {
            return Ok(part);
        }
        part.extend_from_slice(name);
    }
    if part.len() < PAYLOAD_MAX {
        part.push(0);
    }
    Ok(part)
}

fn introduce(payload: &[u8]) -> Result<Answer, Error> {
    let [number_text, frame, port] = strings(payload)?;
    let domain = domain(number_text)?;
    let port = u32::try_from(number(port)?).map_err(|_| Error::Invalid)?;
    if port == 0 || domain.is_dom0() {
        return Err(Error::Invalid);
    }
    let frame = number(frame)?;
    Ok(Answer {
        action: Some(Action::Introduce {
            domain,
            frame,
            port,
        }),
        ..Answer::ok()
    })
}

/// Questions to the server itself.
fn control(payload: &[u8]) -> Result<Answer, Error> {
    match string_and_rest(payload)? {
        (b"help", _) => Ok(Answer::text("help")),
        _ => Err(Error::Invalid),
    }
}
