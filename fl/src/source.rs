//! Where payloads come from while folding. A fold reads each payload once, in
//! list order, and holds only a few at a time (all that count where the rule needs them together).

/// Reads the payload of one entry of a round's list.
pub trait Source {
    /// The bytes, however the source holds them.
    type Payload: AsRef<[u8]>;
    /// Why a payload cannot be had: the fold ends and may be tried again later.
    type Error;

    fn read(&mut self, index: usize) -> Result<Self::Payload, Self::Error>;
}

/// Payloads in memory.
impl<'a> Source for &'a [Vec<u8>] {
    type Payload = &'a [u8];
    type Error = std::convert::Infallible;

    fn read(&mut self, index: usize) -> Result<&'a [u8], Self::Error> {
        Ok(&self[index])
    }
}
