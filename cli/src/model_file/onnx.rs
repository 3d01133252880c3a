//! ONNX: as much of `onnx.proto` as is needed to hold a file to it and to list what it has. Every
//! graph is walked, those inside of operators too; every tensor must have the values that its
//! shape says, in this file.

use super::{
    FileTensor,
    protobuf::{Fault, Message, Value},
};
use std::collections::{BTreeMap, BTreeSet};
use twinfold_types::{
    limits,
    store::{OnnxForm, Port},
};

/// Graphs inside of graphs: loops and branches of loops and branches.
const DEPTH_MAX: usize = 16;
/// Tensors that are listed: fifty times those of the largest models.
const TENSORS_MAX: usize = 100_000;

/// What a file holds, or why it is none.
pub fn read(bytes: &[u8]) -> Result<(OnnxForm, Vec<FileTensor>), Fault> {
    let mut reader = Reader::default();
    reader.model(Message(bytes))?;
    reader.finish()
}

#[derive(Default)]
struct Reader {
    ir_version: u64,
    opsets: Vec<(String, u64)>,
    graphs: usize,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    operators: BTreeMap<String, u64>,
    tensors: Vec<FileTensor>,
}

impl Reader {
    fn model(&mut self, mut model: Message<'_>) -> Result<(), Fault> {
        while let Some((field, value)) = model.next()? {
            match field {
                1 => self.ir_version = value.number("the IR version")?,
                7 => {
                    self.graphs += 1;
                    self.graph(value.message("the graph")?, 0)?;
                }
                8 => self.opset(value.message("an operator set")?)?,
                25 => self.function(value.message("a function")?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(OnnxForm, Vec<FileTensor>), Fault> {
        let Self { ir_version, opsets, graphs, .. } = &self;
        // The first thing that is wrong with a file that is none at all.
        if *ir_version == 0 || *graphs != 1 {
            return Err(format!(
                "it has IR version {ir_version} and {graphs} graphs, expected 1 graph"
            ));
        }
        if opsets.is_empty() {
            return Err("it does not say which operator set it uses".into());
        }
        if self.outputs.is_empty() {
            return Err("its graph has no output".into());
        }
        // Until IR version 4 every initialiser was an input too.
        let known: BTreeSet<_> = self.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        self.inputs.retain(|port| !known.contains(port.name.as_str()));
        let values = self.tensors.iter().map(|tensor| tensor.shape.iter().product::<u64>());
        let values = values.fold(0, u64::saturating_add);
        let form = OnnxForm {
            ir_version: self.ir_version,
            opsets: self.opsets,
            inputs: self.inputs,
            outputs: self.outputs,
            operators: self.operators.into_iter().collect(),
            initialisers: self.tensors.len() as u32,
            values,
        };
        Ok((form, self.tensors))
    }

    fn opset(&mut self, mut opset: Message<'_>) -> Result<(), Fault> {
        let (mut domain, mut version) = (String::new(), 0);
        while let Some((field, value)) = opset.next()? {
            match field {
                1 => domain = name(value, "a domain")?,
                2 => version = value.number("a version")?,
                _ => {}
            }
        }
        bounded(&self.opsets, limits::MODEL_FORM_ROWS_MAX, "operator sets")?;
        self.opsets.push((domain, version));
        Ok(())
    }

    fn function(&mut self, mut function: Message<'_>) -> Result<(), Fault> {
        while let Some((field, value)) = function.next()? {
            if field == 7 {
                self.node(value.message("a function's operator")?, 1)?;
            }
        }
        Ok(())
    }

    /// At depth 0 the model's own graph, else one inside of an operator.
    fn graph(&mut self, mut graph: Message<'_>, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(format!("graphs stand inside of one another more than {DEPTH_MAX} deep"));
        }
        while let Some((field, value)) = graph.next()? {
            match field {
                1 => self.node(value.message("an operator")?, depth)?,
                5 => {
                    let tensor = tensor(value.message("an initialiser")?)?;
                    self.list(tensor, depth)?;
                }
                11 | 12 if depth == 0 => {
                    let port = port(value.message("an input or output")?)?;
                    let ports = if field == 11 { &mut self.inputs } else { &mut self.outputs };
                    // Initialisers may stand among the inputs, and go out in the end.
                    bounded(ports, TENSORS_MAX, "inputs or outputs")?;
                    ports.push(port);
                }
                15 => {
                    let tensor = sparse(value.message("a sparse initialiser")?)?;
                    self.list(tensor, depth)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&mut self, tensor: FileTensor, depth: usize) -> Result<(), Fault> {
        if depth == 0 {
            bounded(&self.tensors, TENSORS_MAX, "initialisers")?;
            self.tensors.push(tensor);
        }
        Ok(())
    }

    fn node(&mut self, mut node: Message<'_>, depth: usize) -> Result<(), Fault> {
        let (mut kind, mut domain) = ("", "");
        while let Some((field, value)) = node.next()? {
            match field {
                4 => kind = value.text("an operator's type")?,
                5 => self.attribute(value.message("an attribute")?, depth)?,
                7 => domain = value.text("an operator's domain")?,
                _ => {}
            }
        }
        if kind.is_empty() || kind.len() + domain.len() > limits::NAME_BYTES_MAX {
            return Err("an operator without a type, or with a very long one".into());
        }
        let full = match domain {
            "" | "ai.onnx" => kind.to_string(),
            domain => format!("{domain}:{kind}"),
        };
        if !self.operators.contains_key(&full)
            && self.operators.len() == limits::MODEL_FORM_ROWS_MAX
        {
            return Err(format!("more than {} kinds of operators", limits::MODEL_FORM_ROWS_MAX));
        }
        *self.operators.entry(full).or_default() += 1;
        Ok(())
    }

    fn attribute(&mut self, mut attribute: Message<'_>, depth: usize) -> Result<(), Fault> {
        while let Some((field, value)) = attribute.next()? {
            match field {
                5 | 10 => drop(tensor(value.message("an attribute's tensor")?)?),
                22 | 23 => drop(sparse(value.message("an attribute's tensor")?)?),
                6 | 11 => self.graph(value.message("an attribute's graph")?, depth + 1)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn bounded<T>(list: &[T], max: usize, what: &str) -> Result<(), Fault> {
    match list.len() < max {
        true => Ok(()),
        false => Err(format!("more than {max} {what}")),
    }
}

fn name(value: Value<'_>, what: &str) -> Result<String, Fault> {
    let text = value.text(what)?;
    match text.len() <= 4 * limits::NAME_BYTES_MAX && !text.chars().any(char::is_control) {
        true => Ok(text.to_string()),
        false => Err(format!("{what} of {} bytes or with control characters", text.len())),
    }
}

/// Name and bits of an element type.
fn element(number: u64) -> Option<(&'static str, u64)> {
    Some(match number {
        1 => ("float32", 32),
        2 => ("uint8", 8),
        3 => ("int8", 8),
        4 => ("uint16", 16),
        5 => ("int16", 16),
        6 => ("int32", 32),
        7 => ("int64", 64),
        // Texts have a length of their own.
        8 => ("string", 0),
        9 => ("bool", 8),
        10 => ("float16", 16),
        11 => ("float64", 64),
        12 => ("uint32", 32),
        13 => ("uint64", 64),
        14 => ("complex64", 64),
        15 => ("complex128", 128),
        16 => ("bfloat16", 16),
        17 => ("float8e4m3fn", 8),
        18 => ("float8e4m3fnuz", 8),
        19 => ("float8e5m2", 8),
        20 => ("float8e5m2fnuz", 8),
        21 => ("uint4", 4),
        22 => ("int4", 4),
        23 => ("float4e2m1", 4),
        24 => ("float8e8m0", 8),
        _ => return None,
    })
}

/// How the values of a tensor stand in its message.
#[derive(Default)]
struct Content {
    raw: Option<u64>,
    /// In the list of the element's own type.
    listed: u64,
}

fn tensor(mut message: Message<'_>) -> Result<FileTensor, Fault> {
    let (mut label, mut kind, mut shape) = (String::new(), 0, Vec::new());
    let mut content = Content::default();
    while let Some((field, value)) = message.next()? {
        match field {
            1 => value.numbers("a shape")?.for_each(|side| {
                bounded(&shape, limits::TENSOR_DIMENSIONS_MAX, "dimensions")?;
                shape.push(side);
                Ok(())
            })?,
            2 => kind = value.number("an element type")?,
            4 => content.listed += fixed_values(value, 4)?,
            5 | 7 | 11 => content.listed += varints(value)?,
            6 => content.listed += 1,
            8 => label = name(value, "a tensor's name")?,
            9 => content.raw = Some(value.bytes("a tensor's values")?.len() as u64),
            10 => content.listed += fixed_values(value, 8)?,
            13 => return Err(outside(&label)),
            14 if value.number("a data location")? != 0 => return Err(outside(&label)),
            _ => {}
        }
    }
    let Some((element, bits)) = element(kind) else {
        return Err(format!("tensor {label:?} has the unknown element type {kind}"));
    };
    let values = shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side));
    let fits = values.is_some_and(|values| content.has(values, kind, bits));
    if !fits {
        return Err(format!("tensor {label:?} has not as many values as its shape {shape:?} says"));
    }
    Ok(FileTensor { name: label, element: element.into(), shape })
}

impl Content {
    fn has(&self, values: u64, kind: u64, bits: u64) -> bool {
        let bytes = values.checked_mul(bits).map(|bits| bits.div_ceil(8));
        let expected = match kind {
            14 | 15 => values.checked_mul(2),
            // Two in each number of the list.
            21..=23 => Some(values.div_ceil(2)),
            _ => Some(values),
        };
        match self.raw {
            Some(raw) => bits > 0 && Some(raw) == bytes && self.listed == 0,
            None => Some(self.listed) == expected,
        }
    }
}

fn outside(label: &str) -> Fault {
    format!(
        "tensor {label:?} has its values in another file; save the model with all of them inside \
         (onnx.save_model(model, file, save_as_external_data=False))"
    )
}

/// How many values of so many bytes stand in a packed list, or one that stands alone.
fn fixed_values(value: Value<'_>, bytes: usize) -> Result<u64, Fault> {
    match value {
        Value::Fixed => Ok(1),
        Value::Bytes(list) if list.len() % bytes == 0 => Ok((list.len() / bytes) as u64),
        _ => Err("a list of values is cut off".into()),
    }
}

fn varints(value: Value<'_>) -> Result<u64, Fault> {
    match value {
        Value::Varint(_) => Ok(1),
        Value::Bytes(list) if list.last().is_none_or(|last| last & 0x80 == 0) => {
            Ok(list.iter().filter(|byte| **byte & 0x80 == 0).count() as u64)
        }
        _ => Err("a list of values is cut off".into()),
    }
}

/// The values that are not zero are a tensor; its shape is the whole one.
fn sparse(mut message: Message<'_>) -> Result<FileTensor, Fault> {
    let (mut values, mut shape) = (None, Vec::new());
    while let Some((field, value)) = message.next()? {
        match field {
            1 => values = Some(tensor(value.message("a sparse tensor's values")?)?),
            2 => drop(tensor(value.message("a sparse tensor's places")?)?),
            3 => value.numbers("a shape")?.for_each(|side| {
                bounded(&shape, limits::TENSOR_DIMENSIONS_MAX, "dimensions")?;
                shape.push(side);
                Ok(())
            })?,
            _ => {}
        }
    }
    let values = values.ok_or("a sparse tensor without values")?;
    match shape.iter().try_fold(1u64, |product, side| product.checked_mul(*side)) {
        Some(_) => Ok(FileTensor { shape, ..values }),
        None => Err(format!("sparse tensor {:?} is too large", values.name)),
    }
}

fn port(mut message: Message<'_>) -> Result<Port, Fault> {
    let (mut label, mut kind, mut shape) = (String::new(), "no tensor", Vec::new());
    while let Some((field, value)) = message.next()? {
        match field {
            1 => label = name(value, "an input or output's name")?,
            2 => {
                let mut of_type = value.message("a type")?;
                while let Some((field, value)) = of_type.next()? {
                    if field == 1 {
                        (kind, shape) = tensor_type(value.message("a tensor's type")?)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Port { name: label, element: kind.into(), shape })
}

fn tensor_type(mut message: Message<'_>) -> Result<(&'static str, Vec<String>), Fault> {
    let (mut kind, mut sides) = ("unknown", Vec::new());
    while let Some((field, value)) = message.next()? {
        match field {
            1 => {
                let number = value.number("an element type")?;
                let known = element(number);
                kind = known.ok_or_else(|| format!("element type {number} is unknown"))?.0;
            }
            2 => {
                let mut shape = value.message("a shape")?;
                while let Some((field, value)) = shape.next()? {
                    if field == 1 {
                        bounded(&sides, limits::TENSOR_DIMENSIONS_MAX, "dimensions")?;
                        sides.push(side(value.message("a side")?)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((kind, sides))
}

fn side(mut message: Message<'_>) -> Result<String, Fault> {
    let mut text = "?".to_string();
    while let Some((field, value)) = message.next()? {
        match field {
            1 => text = value.number("a side")?.to_string(),
            2 => text = name(value, "a side's name")?,
            _ => {}
        }
    }
    Ok(text)
}
