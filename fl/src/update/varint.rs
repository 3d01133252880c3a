//! Minimal LEB128 numbers up to u32: seven bits a byte, low ones first.

/// Bytes that `number` takes.
pub fn length(number: u32) -> usize {
    (32 - number.leading_zeros()).div_ceil(7).max(1) as usize
}

pub fn put(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The number at the start of `bytes` and how many bytes it takes; `None` for one
/// that is cut off, over u32, or longer than it needs to be.
#[inline]
pub fn take(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let minimal = at == 0 || *byte != 0;
            return minimal.then_some((u32::try_from(number).ok()?, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX - 1, u32::MAX] {
            let mut bytes = vec![];
            put(&mut bytes, number);
            assert_eq!(bytes.len(), length(number));
            assert_eq!(take(&bytes), Some((number, bytes.len())));
            assert_eq!(take(&bytes[..bytes.len() - 1]), None, "cut off");
        }
        assert_eq!(take(&[0x80, 0x00]), None, "not minimal");
        assert_eq!(take(&[0xff, 0xff, 0xff, 0xff, 0x10]), None, "over u32");
        assert_eq!(take(&[0xff; 6]), None, "endless");
    }
}
