//! What the commands share that only name a domain: pause, unpause, shutdown, reboot, destroy.

use super::Context;
use super::context::unexpected;
use crate::exit::Result;
use crate::output::Report;
use crate::output::units::span;
use dom0_protocol::domain::DomainState;
use dom0_protocol::reply::Acted;
use dom0_protocol::{DomainSelector, Reply, Request};
use schemars::JsonSchema;
use serde::Serialize;

/// The result: the domain and its state after. Schema `action.json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Action {
    /// What was done.
    pub action: &'static str,
    /// The domain.
    #[serde(flatten)]
    pub domain: Acted,
    #[serde(skip)]
    sentence: &'static str,
}

impl Report for Action {
    fn text(&self, _: bool) -> String {
        let Self {
            domain, sentence, ..
        } = self;
        let state = match domain.state {
            Some(state @ (DomainState::Crashed | DomainState::Dying)) if self.action != "wait" => {
                format!(", now {}", state.as_str())
            }
            _ => String::new(),
        };
        let time = span(domain.elapsed_ns);
        format!(
            "{} (id {}) {sentence}{state}, {time}\n",
            domain.name, domain.id
        )
    }
}

/// Makes the request and prints the result.
pub(super) fn run(
    action: &'static str,
    sentence: &'static str,
    domain: &DomainSelector,
    request: Request,
    context: &mut Context<'_, '_>,
) -> Result<()> {
    let mut session = context.connect()?;
    let reply = context.follow(&mut session, request, &domain.to_string())?;
    let Reply::Acted(domain) = reply else {
        return Err(unexpected(&reply));
    };
    context.print(&Action {
        action,
        domain,
        sentence,
    })
}
