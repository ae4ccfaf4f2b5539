//! Parses a pickle as data: makes none of the objects that it describes and executes nothing.
//!
//! # Source
//! CPython's `pickletools`: protocols 2 to 5.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::error::invalid;
use super::node::{Id, Node, Object, Pickle};

/// The most bytes of a pickle that are read. The tensors of a checkpoint lie outside it.
pub const MOST_BYTES: u64 = 64 << 20;
/// The most objects in a pickle. A checkpoint has a few dozen per tensor.
const MOST_NODES: usize = 1 << 22;
/// The most bytes that are allocated before they are read.
const STEP: usize = 1 << 16;

/// Reads one pickle, and leaves the reader after it.
///
/// # Errors
/// If it ends early, is not a pickle, is larger than a checkpoint's, or uses a protocol other than 2 to 5.
pub fn read(reader: &mut impl BufRead) -> io::Result<Pickle> {
    Machine {
        reader: reader.take(MOST_BYTES),
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    }
    .run()
}

struct Machine<R> {
    reader: R,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// The height of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<R: BufRead> Machine<R> {
    fn run(mut self) -> io::Result<Pickle> {
        loop {
            let [opcode] = self.bytes()?;
            match opcode {
                b'.' => {
                    let root = self.pop()?;
                    return Ok(Pickle { nodes: self.nodes, root });
                }
                0x80 => match self.bytes()? {
                    [2..=5] => {}
                    [protocol] => {
                        return Err(invalid(format!(
                            "a pickle of protocol {protocol}, but only 2 to 5 are supported"
                        )));
                    }
                },
                // The length of a frame.
                0x95 => drop(self.bytes::<8>()?),
                _ => self.step(opcode)?,
            }
        }
    }

    /// Handles scalars and empty containers; `stack_step` handles all other opcodes.
    fn step(&mut self, opcode: u8) -> io::Result<()> {
        let node = match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(i32::from_le_bytes(self.bytes()?).into()),
            b'K' => Node::Int(u8::from_le_bytes(self.bytes()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.bytes()?).into()),
            b'G' => Node::Float(f64::from_be_bytes(self.bytes()?)),
            0x8a | 0x8b => integer(&self.counted(if opcode == 0x8a { 1 } else { 4 })?),
            0x8c | b'X' | 0x8d => {
                let text = self.counted(if opcode == 0x8c {
                    1
                } else if opcode == b'X' {
                    4
                } else {
                    8
                })?;
                Node::Text(String::from_utf8(text).map_err(|_| invalid("a text that is not UTF-8"))?)
            }
            // Python 2's strings are text or bytes.
            b'U' | b'T' => {
                let bytes = self.counted(if opcode == b'U' { 1 } else { 4 })?;
                String::from_utf8(bytes).map_or(Node::Other, Node::Text)
            }
            b'C' | b'B' | 0x8e | 0x96 => {
                self.counted(if opcode == b'C' {
                    1
                } else if opcode == b'B' {
                    4
                } else {
                    8
                })?;
                Node::Other
            }
            b'c' => Node::Global(format!("{}.{}", self.line()?, self.line()?)),
            b'}' => Node::Dict(Vec::new()),
            b']' | b')' | 0x8f => Node::Sequence(Vec::new()),
            _ => return self.stack_step(opcode),
        };
        self.push(node)
    }

    fn stack_step(&mut self, opcode: u8) -> io::Result<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' | b'r' | 0x94 => {
                let slot = match opcode {
                    b'q' => u8::from_le_bytes(self.bytes()?).into(),
                    b'r' => u32::from_le_bytes(self.bytes()?),
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                if self.memo.len() == MOST_NODES {
                    return Err(invalid(format!("more than {MOST_NODES} objects to refer to")));
                }
                self.memo.insert(slot, top);
            }
            b'h' | b'j' => {
                let slot = match opcode {
                    b'h' => u8::from_le_bytes(self.bytes()?).into(),
                    _ => u32::from_le_bytes(self.bytes()?),
                };
                let id = *self.memo.get(&slot).ok_or_else(|| invalid(format!("no object number {slot}")))?;
                self.stack.push(id);
            }
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Node::Sequence(items))?;
            }
            0x85..=0x87 => {
                let mut items = (0x84..opcode).map(|_| self.pop()).collect::<io::Result<Vec<_>>>()?;
                items.reverse();
                self.push(Node::Sequence(items))?;
            }
            b'd' => {
                let pairs = pairs(&self.pop_to_mark()?)?;
                self.push(Node::Dict(pairs))?;
            }
            b'a' | b'e' | 0x90 => {
                let items = if opcode == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
                match self.top_node()? {
                    Node::Sequence(all) => all.extend(items),
                    Node::Object(object) => object.items.extend(items),
                    _ => return Err(invalid("elements of something that is not a list")),
                }
            }
            b's' | b'u' => {
                let items = match opcode {
                    b's' => {
                        let value = self.pop()?;
                        vec![self.pop()?, value]
                    }
                    _ => self.pop_to_mark()?,
                };
                let pairs = pairs(&items)?;
                match self.top_node()? {
                    Node::Dict(all) => all.extend(pairs),
                    Node::Object(object) => object.entries.extend(pairs),
                    _ => return Err(invalid("entries of something that is not a dict")),
                }
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match &self.nodes[id as usize] {
                    Node::Text(text) => Ok(text.as_str()),
                    _ => Err(invalid("a class whose name is not text")),
                };
                let name = format!("{}.{}", text(module)?, text(name)?);
                self.push(Node::Global(name))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            b'R' | 0x81 | 0x92 => {
                // Keyword arguments are ignored.
                if opcode == 0x92 {
                    self.pop()?;
                }
                let (args, callee) = (self.pop()?, self.pop()?);
                let (items, entries, state) = (Vec::new(), Vec::new(), None);
                self.push(Node::Object(Box::new(Object { callee, args, items, entries, state })))?;
            }
            b'b' => {
                let state = self.pop()?;
                // Anything else, such as a dict, counts by its own contents, without its state.
                if let Node::Object(object) = self.top_node()? {
                    object.state = Some(state);
                }
            }
            _ => return Err(invalid(format!("no opcode of protocols 2 to 5: {opcode:#04x}"))),
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> io::Result<()> {
        if self.nodes.len() == MOST_NODES {
            return Err(invalid(format!("more than {MOST_NODES} objects beside the tensors")));
        }
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
        Ok(())
    }

    fn top(&self) -> io::Result<Id> {
        let above = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| above).ok_or_else(|| invalid("an object is missing"))
    }

    fn top_node(&mut self) -> io::Result<&mut Node> {
        let top = self.top()?;
        Ok(&mut self.nodes[top as usize])
    }

    fn pop(&mut self) -> io::Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> io::Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| invalid("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a count of `width` bytes, then that many bytes.
    fn counted(&mut self, width: usize) -> io::Result<Vec<u8>> {
        let mut count = [0; 8];
        self.reader.read_exact(&mut count[..width])?;
        let count = u64::from_le_bytes(count);
        let mut bytes = Vec::with_capacity(STEP.min(usize::try_from(count).unwrap_or(STEP)));
        self.reader.by_ref().take(count).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == count {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => String::from_utf8(line).map_err(|_| invalid("a name that is not UTF-8")),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn pairs(items: &[Id]) -> io::Result<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err(invalid("a key without a value")),
    }
}

/// A little-endian integer in two's complement.
fn integer(bytes: &[u8]) -> Node {
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [fill; 8];
    match all.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(all))
        }
        None => Node::Other,
    }
}
