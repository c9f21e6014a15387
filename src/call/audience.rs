//! Whom a change of a call is for.

use super::Role;

/// Whom a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audience {
    pub caller: bool,
    pub callee: bool,
}

impl Audience {
    pub const BOTH: Audience = Audience { caller: true, callee: true };
    pub const CALLEE: Audience = Audience { caller: false, callee: true };

    pub fn includes(self, role: Role) -> bool {
        match role {
            Role::Caller => self.caller,
            Role::Callee => self.callee,
        }
    }

    pub fn roles(self) -> impl Iterator<Item = Role> {
        [Role::Caller, Role::Callee].into_iter().filter(move |role| self.includes(*role))
    }
}
