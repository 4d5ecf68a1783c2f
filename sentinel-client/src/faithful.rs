//! Compares two values by what they pass to `serde`. Needs no `PartialEq`, and distinguishes more than their JSON.
//!
//! JSON writes `Some(NaN)`, `Some(None)` and `None` alike; a [`Shape`] distinguishes them. It does not depend on the
//! iteration order of a map or a set.

use std::fmt;

use serde::ser::{self, Serialize};

/// A 64-bit hash of what a value passes to `serde`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u64);

/// Whether both values pass the same to `serde`.
pub(super) fn same<T: Serialize + ?Sized>(one: &T, other: &T) -> Result<bool, NoShape> {
    Ok(one.serialize(Shaper)? == other.serialize(Shaper)?)
}

/// The value cannot be serialised.
#[derive(Debug)]
pub(super) struct NoShape(String);

impl fmt::Display for NoShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoShape {}

impl ser::Error for NoShape {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Shape {
    const fn of(kind: u64) -> Self {
        Self(kind.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Adds the next part of something ordered.
    fn then(self, part: u64) -> Self {
        let mixed = (self.0 ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self((mixed ^ (mixed >> 29)).wrapping_add(0x94d0_49bb_1331_11eb).rotate_left(17))
    }

    fn text(self, text: &[u8]) -> Self {
        let length = text.len() as u64;
        text.chunks(8).fold(self.then(length), |shape, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            shape.then(u64::from_le_bytes(word))
        })
    }
}

/// The kinds of values.
mod kind {
    pub(super) const UNIT: u64 = 1;
    pub(super) const NONE: u64 = 2;
    pub(super) const SOME: u64 = 3;
    pub(super) const BOOL: u64 = 4;
    pub(super) const INTEGER: u64 = 5;
    pub(super) const FLOAT: u64 = 6;
    pub(super) const CHAR: u64 = 7;
    pub(super) const TEXT: u64 = 8;
    pub(super) const BYTES: u64 = 9;
    pub(super) const SEQUENCE: u64 = 10;
    pub(super) const TUPLE: u64 = 11;
    pub(super) const MAP: u64 = 12;
    pub(super) const STRUCT: u64 = 13;
    pub(super) const VARIANT: u64 = 14;
}

#[derive(Clone, Copy)]
struct Shaper;

/// Ordered parts: of a tuple, a struct, a variant.
struct Ordered(Shape);

/// Unordered parts. `serde` does not distinguish a set from a list, nor one kind of map from another.
struct Unordered {
    shape: Shape,
    sum: u64,
    key: Shape,
}

impl Ordered {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoShape> {
        self.0 = self.0.then(value.serialize(Shaper)?.0);
        Ok(())
    }

    fn named<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), NoShape> {
        self.0 = self.0.text(name.as_bytes());
        self.part(value)
    }
}

impl Unordered {
    fn new(kind: u64) -> Self {
        Self { shape: Shape::of(kind), sum: 0, key: Shape(0) }
    }

    fn part(&mut self, part: Shape) {
        self.sum = self.sum.wrapping_add(Shape::of(0).then(part.0).0);
    }

    fn end(self) -> Shape {
        self.shape.then(self.sum)
    }
}

macro_rules! scalars {
    ($($method:ident($type:ty) $kind:ident |$value:ident| $bits:expr;)*) => {
        $(fn $method(self, $value: $type) -> Result<Shape, NoShape> {
            Ok(Shape::of(kind::$kind).then($bits))
        })*
    };
}

impl ser::Serializer for Shaper {
    type Ok = Shape;
    type Error = NoShape;
    type SerializeSeq = Unordered;
    type SerializeTuple = Ordered;
    type SerializeTupleStruct = Ordered;
    type SerializeTupleVariant = Ordered;
    type SerializeMap = Unordered;
    type SerializeStruct = Ordered;
    type SerializeStructVariant = Ordered;

    scalars! {
        serialize_bool(bool) BOOL |value| u64::from(value);
        serialize_i8(i8) INTEGER |value| i64::from(value) as u64;
        serialize_i16(i16) INTEGER |value| i64::from(value) as u64;
        serialize_i32(i32) INTEGER |value| i64::from(value) as u64;
        serialize_i64(i64) INTEGER |value| value as u64;
        serialize_u8(u8) INTEGER |value| u64::from(value);
        serialize_u16(u16) INTEGER |value| u64::from(value);
        serialize_u32(u32) INTEGER |value| u64::from(value);
        serialize_u64(u64) INTEGER |value| value;
        serialize_f32(f32) FLOAT |value| u64::from(value.to_bits());
        serialize_f64(f64) FLOAT |value| value.to_bits();
        serialize_char(char) CHAR |value| u64::from(u32::from(value));
    }

    fn serialize_i128(self, value: i128) -> Result<Shape, NoShape> {
        self.serialize_u128(value as u128)
    }

    fn serialize_u128(self, value: u128) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::INTEGER).then(value as u64).then((value >> 64) as u64))
    }

    fn serialize_str(self, text: &str) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::TEXT).text(text.as_bytes()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::BYTES).text(bytes))
    }

    fn serialize_none(self) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::NONE))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::SOME).then(value.serialize(self)?.0))
    }

    fn serialize_unit(self) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::UNIT))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Shape, NoShape> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, n: u32, _: &'static str) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::VARIANT).then(u64::from(n)))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Shape, NoShape> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Shape, NoShape> {
        Ok(Shape::of(kind::VARIANT).then(u64::from(n)).then(value.serialize(self)?.0))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Unordered, NoShape> {
        Ok(Unordered::new(kind::SEQUENCE))
    }

    fn serialize_tuple(self, _: usize) -> Result<Ordered, NoShape> {
        Ok(Ordered(Shape::of(kind::TUPLE)))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Ordered, NoShape> {
        self.serialize_tuple(0)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Ordered, NoShape> {
        Ok(Ordered(Shape::of(kind::VARIANT).then(u64::from(n))))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Unordered, NoShape> {
        Ok(Unordered::new(kind::MAP))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Ordered, NoShape> {
        Ok(Ordered(Shape::of(kind::STRUCT)))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        n: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Ordered, NoShape> {
        Ok(Ordered(Shape::of(kind::VARIANT).then(u64::from(n))))
    }

    // As in JSON: some types serialise differently for people than for machines.
    fn is_human_readable(&self) -> bool {
        true
    }
}

macro_rules! ordered {
    ($($trait:ident $method:ident;)*) => {$(
        impl ser::$trait for Ordered {
            type Ok = Shape;
            type Error = NoShape;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoShape> {
                self.part(value)
            }
            fn end(self) -> Result<Shape, NoShape> {
                Ok(self.0)
            }
        }
    )*};
}

ordered! {
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! named {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Ordered {
            type Ok = Shape;
            type Error = NoShape;
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NoShape> {
                self.named(name, value)
            }
            fn end(self) -> Result<Shape, NoShape> {
                Ok(self.0)
            }
        }
    )*};
}

named! { SerializeStruct SerializeStructVariant }

impl ser::SerializeSeq for Unordered {
    type Ok = Shape;
    type Error = NoShape;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoShape> {
        self.part(value.serialize(Shaper)?);
        Ok(())
    }

    fn end(self) -> Result<Shape, NoShape> {
        Ok(Unordered::end(self))
    }
}

impl ser::SerializeMap for Unordered {
    type Ok = Shape;
    type Error = NoShape;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoShape> {
        self.key = key.serialize(Shaper)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoShape> {
        let value = value.serialize(Shaper)?;
        self.part(self.key.then(value.0));
        Ok(())
    }

    fn end(self) -> Result<Shape, NoShape> {
        Ok(Unordered::end(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    fn alike<T: Serialize>(one: T, other: T) -> bool {
        same(&one, &other).unwrap()
    }

    #[test]
    fn values_that_json_writes_alike_are_distinguished() {
        assert!(!alike(Some(f64::NAN), None));
        assert!(!alike(Some(None::<u8>), None));
        assert!(!alike(Some(()), None));
        assert!(!alike(f64::NAN, f64::INFINITY));
        assert!(!alike(0.0, -0.0));
        assert!(!alike((u128::MAX, 1u8), (u128::MAX - 1, 1)));
        assert!(!alike(vec![1, 2], vec![1]));
        assert!(!alike("a\0", "a"));
        assert!(!alike((1, 2), (2, 1)));
        assert!(!alike(BTreeMap::from([(1, 2), (3, 4)]), BTreeMap::from([(1, 4), (3, 2)])));
        assert!(!alike(Ok::<u8, u8>(1), Err(1)));
    }

    #[test]
    fn the_order_of_a_map_or_a_set_makes_no_difference() {
        for _ in 0..20 {
            let map = || (0..50).map(|n| (n, format!("{n}"))).collect::<HashMap<_, _>>();
            assert!(alike(map(), map()));
            let set = || (0..50).collect::<HashSet<_>>();
            assert!(alike(set(), set()));
        }
        assert!(alike((Some(f64::NAN), "text", [1u8; 9]), (Some(f64::NAN), "text", [1; 9])));
    }
}
