//! Protobuf's wire format, field by field and borrowing from the bytes: a message of any size costs
//! nothing to look through, and what is not asked for is passed over. Generated code would
//! allocate for each of a file's messages, and an empty one takes only two bytes of it.

/// One message's fields, in the order in which they stand.
#[derive(Clone, Copy)]
pub struct Message<'a>(pub &'a [u8]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Also of booleans and enums; signed ones are two's complement.
    Varint(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, which nothing here needs.
    Fixed,
}

/// Why bytes are no message.
pub type Fault = String;

impl<'a> Message<'a> {
    /// The next field's number and value, or none at the end.
    pub fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Fault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(format!("a field of the unknown wire type {other}")),
        };
        match tag >> 3 {
            0 => Err("a field with number 0".into()),
            field => Ok(Some((field, value))),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Fault> {
        let there = self.0.len();
        let length = usize::try_from(length).ok().filter(|length| *length <= there);
        let length =
            length.ok_or_else(|| "a field that is longer than what is left".to_string())?;
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first.
    pub fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("a number that is cut off")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than ten bytes".into())
    }
}

impl<'a> Value<'a> {
    pub fn number(self, what: &str) -> Result<u64, Fault> {
        match self {
            Self::Varint(value) => Ok(value),
            _ => Err(format!("{what} is no whole number")),
        }
    }

    pub fn message(self, what: &str) -> Result<Message<'a>, Fault> {
        self.bytes(what).map(Message)
    }

    pub fn bytes(self, what: &str) -> Result<&'a [u8], Fault> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(format!("{what} is a number")),
        }
    }

    pub fn text(self, what: &str) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| format!("{what} is no UTF-8 text"))
    }

    /// The numbers of a repeated field: one, or many packed together.
    pub fn numbers(self, what: &str) -> Result<Numbers<'a>, Fault> {
        match self {
            Self::Varint(value) => Ok(Numbers::One(value)),
            Self::Bytes(bytes) => Ok(Numbers::Packed(Message(bytes))),
            Self::Fixed => Err(format!("{what} is no list of whole numbers")),
        }
    }
}

pub enum Numbers<'a> {
    One(u64),
    Packed(Message<'a>),
}

impl Numbers<'_> {
    pub fn for_each(self, mut take: impl FnMut(u64) -> Result<(), Fault>) -> Result<(), Fault> {
        match self {
            Self::One(value) => take(value),
            Self::Packed(mut list) => {
                while !list.0.is_empty() {
                    take(list.varint()?)?;
                }
                Ok(())
            }
        }
    }
}
