//! A walk over the fields of a protobuf message, in place, and the few encoders that the gate needs.
//!
//! Lenient in what it does not look at, strict in structure: lengths, numbers and wire types. Groups (deprecated before
//! remote write existed) are refused.
//! Source: the protobuf encoding guide.

use super::WireError;

/// A field as it stands in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its number.
    pub(super) number: u32,
    /// Its value.
    value: Value<'a>,
    /// All of it, tag included: to be copied.
    pub(super) raw: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Fixed,
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    /// The content of a string or an embedded message.
    pub(super) fn bytes(&self, message: &'static str) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => {
                Err(WireError::Kind { message, field: self.number, expected: "length-delimited" })
            }
        }
    }

    /// The value of an `int64`.
    pub(super) fn int64(&self, message: &'static str) -> Result<i64, WireError> {
        self.varint(message).map(u64::cast_signed)
    }

    /// The value of a number that is not of a fixed size.
    pub(super) fn varint(&self, message: &'static str) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            Value::Bytes(_) | Value::Fixed => {
                Err(WireError::Kind { message, field: self.number, expected: "a varint" })
            }
        }
    }
}

/// The fields of a message, in order. After an error there are no more.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Fields of a message.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.rest;
        let tag = take_varint(&mut self.rest)?;
        let wire_type = tag.to_le_bytes()[0] & 7;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(WireError::FieldNumber { number: tag >> 3 })?;
        let value = match wire_type {
            0 => Value::Varint(take_varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(take_varint(&mut self.rest)?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(WireError::WireType { field: number, wire_type }),
        };
        Ok(Field { number, value, raw: &start[..start.len() - self.rest.len()] })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a varint from the beginning.
pub(super) fn take_varint(rest: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for (index, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            // The tenth byte carries the last bit of 64.
            if index == 9 && byte > 1 {
                break;
            }
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    Err(if rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
}

/// The last `int64` of this number in a message, 0 without one: how protobuf reads a single value.
pub(super) fn last_int64(message: &[u8], number: u32, name: &'static str) -> Result<i64, WireError> {
    let mut value = 0;
    for field in Fields::of(message) {
        let field = field?;
        if field.number == number {
            value = field.int64(name)?;
        }
    }
    Ok(value)
}

/// Appends a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Appends a field that is a varint.
pub(super) fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

/// Appends a string or an embedded message.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(message: &[u8]) -> Result<Vec<u32>, WireError> {
        Fields::of(message).map(|field| field.map(|field| field.number)).collect()
    }

    #[test]
    fn every_kind_of_field_is_walked() {
        let message = b"\x08\x96\x01\x12\x02hi\x19\x00\x00\x00\x00\x00\x00\x00\x00\x25\x00\x00\x00\x00";
        let fields: Vec<Field<'_>> = Fields::of(message).map(Result::unwrap).collect();
        assert_eq!(fields.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(fields[0].int64("m").unwrap(), 150);
        assert_eq!(fields[1].bytes("m").unwrap(), b"hi");
        assert_eq!(fields.iter().flat_map(|field| field.raw).copied().collect::<Vec<_>>(), message);
    }

    #[test]
    fn what_is_no_message_is_refused_with_its_reason() {
        for (message, error) in [
            (&b"\x08"[..], WireError::Truncated),
            (b"\x08\x80", WireError::Truncated),
            (b"\x12\x05hi", WireError::Truncated),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WireError::Truncated),
            (b"\x19\x00", WireError::Truncated),
            (b"\x25\x00", WireError::Truncated),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", WireError::Varint),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", WireError::Varint),
            (b"\x00\x00", WireError::FieldNumber { number: 0 }),
            (b"\x80\x80\x80\x80\x10\x00", WireError::FieldNumber { number: 1 << 29 }),
            (b"\x0b\x0c", WireError::WireType { field: 1, wire_type: 3 }),
            (b"\x0e", WireError::WireType { field: 1, wire_type: 6 }),
        ] {
            assert_eq!(read(message), Err(error), "{message:?}");
        }
        let field = Fields::of(b"\x08\x01").next().unwrap().unwrap();
        assert_eq!(
            field.bytes("Label"),
            Err(WireError::Kind { message: "Label", field: 1, expected: "length-delimited" })
        );
    }

    #[test]
    fn a_negative_number_takes_ten_bytes_and_the_last_of_several_counts() {
        let mut message = vec![0x08];
        put_varint(&mut message, (-5_i64).cast_unsigned());
        assert_eq!(message.len(), 11);
        assert_eq!(last_int64(&message, 1, "m").unwrap(), -5);
        message.extend([0x08, 7]);
        assert_eq!(last_int64(&message, 1, "m").unwrap(), 7);
        assert_eq!(last_int64(&message, 2, "m").unwrap(), 0);
    }
}
