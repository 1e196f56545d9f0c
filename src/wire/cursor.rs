//! Reading msgpack without recursion and without trust.

use rmp::Marker;

use super::{Limits, WireError};

/// The deepest nesting that [`Cursor::skip`] can count.
pub(super) const MAX_DEPTH: usize = 128;

/// A position in a frame.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What stands at the cursor, read with all that belongs to its head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    /// Always negative.
    Int(i64),
    Float,
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext,
    /// So many values follow.
    Array(usize),
    /// So many pairs follow.
    Map(usize),
}

impl Head<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Uint(_) | Self::Int(_) => "an integer",
            Self::Float => "a float",
            Self::Str(_) => "a string",
            Self::Bin(_) => "binary",
            Self::Ext => "an extension",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn starting_at(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was read from there on.
    pub(super) fn since(&self, from: usize) -> &'a [u8] {
        &self.bytes[from..self.at]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads one head: a whole scalar, or how much an array or a map holds. Never says
    /// more elements than there are bytes left.
    #[inline]
    pub(super) fn head(&mut self) -> Result<Head<'a>, WireError> {
        let head = match Marker::from_u8(self.byte()?) {
            Marker::Null => Head::Nil,
            Marker::True => Head::Bool(true),
            Marker::False => Head::Bool(false),
            Marker::FixPos(number) => Head::Uint(number.into()),
            Marker::FixNeg(number) => Head::Int(number.into()),
            Marker::U8 => Head::Uint(self.number(1)?),
            Marker::U16 => Head::Uint(self.number(2)?),
            Marker::U32 => Head::Uint(self.number(4)?),
            Marker::U64 => Head::Uint(self.number(8)?),
            Marker::I8 => integer(self.number(1)? as i8 as i64),
            Marker::I16 => integer(self.number(2)? as i16 as i64),
            Marker::I32 => integer(self.number(4)? as i32 as i64),
            Marker::I64 => integer(self.number(8)? as i64),
            Marker::F32 => self.take(4).map(|_| Head::Float)?,
            Marker::F64 => self.take(8).map(|_| Head::Float)?,
            Marker::FixStr(len) => Head::Str(self.take(len.into())?),
            Marker::Str8 => Head::Str(self.take_counted(1)?),
            Marker::Str16 => Head::Str(self.take_counted(2)?),
            Marker::Str32 => Head::Str(self.take_counted(4)?),
            Marker::Bin8 => Head::Bin(self.take_counted(1)?),
            Marker::Bin16 => Head::Bin(self.take_counted(2)?),
            Marker::Bin32 => Head::Bin(self.take_counted(4)?),
            Marker::FixArray(len) => self.array(len.into())?,
            Marker::Array16 => self.counted(2).and_then(|len| self.array(len))?,
            Marker::Array32 => self.counted(4).and_then(|len| self.array(len))?,
            Marker::FixMap(len) => self.map(len.into())?,
            Marker::Map16 => self.counted(2).and_then(|len| self.map(len))?,
            Marker::Map32 => self.counted(4).and_then(|len| self.map(len))?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.counted(1).and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.counted(2).and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.counted(4).and_then(|len| self.ext(len))?,
            Marker::Reserved => return Err(self.malformed()),
        };
        Ok(head)
    }

    /// Moves past one whole value. `budget` is what the frame may still decode to.
    #[inline]
    pub(super) fn skip(&mut self, limits: &Limits, budget: &mut usize) -> Result<(), WireError> {
        match self.charged(limits, budget)? {
            0 => Ok(()),
            count => self.skip_nested(count, limits, budget),
        }
    }

    /// Moves past `count` values, which are the inside of one array or map.
    fn skip_nested(
        &mut self,
        count: usize,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<(), WireError> {
        let too_deep = WireError::TooDeep {
            limit: limits.depth,
        };
        let depth = limits.depth.min(MAX_DEPTH);
        if depth == 0 {
            return Err(too_deep);
        }
        // What is left to read at each level.
        let mut left = [0; MAX_DEPTH];
        left[0] = count;
        let mut level = 0;
        loop {
            while left[level] == 0 {
                if level == 0 {
                    return Ok(());
                }
                level -= 1;
            }
            left[level] -= 1;
            let inner = self.charged(limits, budget)?;
            if inner > 0 {
                level += 1;
                if level == depth {
                    return Err(too_deep);
                }
                left[level] = inner;
            }
        }
    }

    /// Reads one head, takes it off the budget, and says how many values are inside.
    #[inline]
    fn charged(&mut self, limits: &Limits, budget: &mut usize) -> Result<usize, WireError> {
        let (size, inner) = match self.head()? {
            Head::Str(bytes) | Head::Bin(bytes) => (bytes.len(), 0),
            Head::Array(count) => (0, count),
            Head::Map(pairs) => (0, 2 * pairs),
            _ => (0, 0),
        };
        match budget.checked_sub(size + Limits::VALUE) {
            Some(left) => *budget = left,
            None => {
                return Err(WireError::TooBig {
                    limit: limits.budget(),
                });
            }
        }
        Ok(inner)
    }

    fn array(&self, count: usize) -> Result<Head<'a>, WireError> {
        self.expect_left(count)?;
        Ok(Head::Array(count))
    }

    fn map(&self, pairs: usize) -> Result<Head<'a>, WireError> {
        self.expect_left(pairs.saturating_mul(2))?;
        Ok(Head::Map(pairs))
    }

    fn ext(&mut self, len: usize) -> Result<Head<'a>, WireError> {
        let _kind = self.byte()?;
        self.take(len)?;
        Ok(Head::Ext)
    }

    fn expect_left(&self, values: usize) -> Result<(), WireError> {
        if values > self.bytes.len() - self.at {
            return Err(self.malformed());
        }
        Ok(())
    }

    fn take_counted(&mut self, width: usize) -> Result<&'a [u8], WireError> {
        let len = self.counted(width)?;
        self.take(len)
    }

    fn counted(&mut self, width: usize) -> Result<usize, WireError> {
        // Widths up to four bytes, and a usize has eight.
        self.number(width).map(|number| number as usize)
    }

    #[inline]
    fn number(&mut self, width: usize) -> Result<u64, WireError> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, WireError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.malformed())?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..len).ok_or_else(|| self.malformed())?;
        self.at += len;
        Ok(taken)
    }

    fn malformed(&self) -> WireError {
        WireError::Malformed { at: self.at }
    }
}

/// Whether `bytes` are one value within the limits.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<(), WireError> {
    check_beside(bytes, limits, 0)
}

/// The same, in a message the rest of which takes so much when it is decoded.
pub(super) fn check_beside(bytes: &[u8], limits: &Limits, rest: usize) -> Result<(), WireError> {
    let mut cursor = Cursor::new(bytes);
    cursor.skip(limits, &mut limits.budget().saturating_sub(rest))?;
    match cursor.is_at_end() {
        true => Ok(()),
        false => Err(WireError::TrailingBytes { at: cursor.at() }),
    }
}

fn integer<'a>(number: i64) -> Head<'a> {
    u64::try_from(number).map_or(Head::Int(number), Head::Uint)
}
