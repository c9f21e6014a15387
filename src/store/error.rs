/// The world failed, as opposed to a rule that said no.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nobody knows whether the command ran: a write is to be read back.
    #[error("store did not answer: {0}")]
    Unavailable(String),
    /// The store is another than the one that was judged last: the command has not run.
    #[error("the store is another than the one that was asked last")]
    Another,
    /// A single record that was asked for is of another version, or damaged: nothing was written, nobody here decides on
    /// it. Among others it is passed over and counted instead.
    #[error("stored {what} can't be read: {reason}")]
    Corrupt { what: &'static str, reason: String },
}

impl StoreError {
    /// The store said no: the command has not run, and asking again at once is of no use.
    pub fn is_refusal(&self) -> bool {
        const REFUSALS: [&str; 9] =
            ["LATE ", "NOREPLICAS", "READONLY", "OOM", "NOPERM", "MISCONF", "LOADING", "MASTERDOWN", "NOAUTH"];
        match self {
            StoreError::Unavailable(said) => REFUSALS.iter().any(|refusal| said.contains(refusal)),
            StoreError::Another => true,
            StoreError::Corrupt { .. } => false,
        }
    }
}
