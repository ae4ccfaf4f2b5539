//! Reads checkpoints of `torch.save`: their tensors, and the options stored beside them.
//!
//! # Source
//! PyTorch's `torch/serialization.py` and `torch/_utils.py`.

mod dtype;
mod error;
mod node;
mod pickle;
mod storages;
mod tensor;
mod walk;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use node::{Id, Node, Pickle};

pub use tensor::Tensor;
use walk::Found;

/// The contents of a checkpoint.
pub struct Checkpoint {
    /// Its tensors.
    pub found: Found,
    /// The scalars of `args`, `config` and `hyper_parameters`.
    pub args: BTreeMap<String, serde_json::Value>,
}

/// Reads a checkpoint except for the tensors' values.
///
/// # Errors
/// If it is not a checkpoint, or damaged.
pub fn open(path: &Path) -> io::Result<Checkpoint> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut magic = [0; 2];
    reader.read_exact(&mut magic)?;
    reader.rewind()?;
    let len = reader.get_ref().metadata()?.len();
    let (pickle, storages) = match &magic {
        b"PK" => storages::zip(reader)?,
        _ => storages::old(reader, len)?,
    };
    let found = walk::tensors(&pickle, storages, len)?;
    let mut args = BTreeMap::new();
    for name in ["args", "config", "hyper_parameters"] {
        let Some(id) = pickle.get(pickle.root, name) else { continue };
        for (key, value) in pickle.entries(id) {
            if let (Some(key), Some(value)) = (pickle.text(key), scalar(&pickle, value)) {
                args.insert(key.into(), value);
            }
        }
    }
    Ok(Checkpoint { found, args })
}

/// A boolean, a number, a text, or a list of at most eight sizes.
fn scalar(pickle: &Pickle, id: Id) -> Option<serde_json::Value> {
    Some(match pickle.node(id) {
        Node::Bool(value) => (*value).into(),
        Node::Int(value) => (*value).into(),
        Node::Float(value) => (*value).into(),
        Node::Text(value) => value.clone().into(),
        Node::Sequence(items) if items.len() <= 8 => {
            items.iter().map(|item| pickle.number(*item)).collect::<Option<Vec<_>>>()?.into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({"a": first, "c": [None, True, {1, 2}], "d": first, "e": Namespace(x=1 << 40)}, 2)`, where
    /// `first` is `OrderedDict([("b", (1, 2.5, 300, -1))])`.
    const PICKLE: &[u8] =
        b"\x80\x02}q\0(X\x01\0\0\0aq\x01ccollections\nOrderedDict\nq\x02)Rq\x03X\x01\0\0\0bq\x04(K\x01G@\
        \x04\0\0\0\0\0\0M,\x01J\xff\xff\xff\xfftq\x05sX\x01\0\0\0cq\x06]q\x07(N\x88c__builtin__\nset\nq\
        \x08]q\x09(K\x01K\x02e\x85q\nRq\x0beX\x01\0\0\0dq\x0ch\x03X\x01\0\0\0eq\x0dcargparse\nNamespace\
        \nq\x0e)\x81q\x0f}q\x10X\x01\0\0\0xq\x11\x8a\x06\0\0\0\0\0\x01sbu.";

    fn read(bytes: &[u8]) -> io::Result<Pickle> {
        pickle::read(&mut &*bytes)
    }

    #[test]
    fn objects_hold_what_was_put_into_them() {
        let pickle = read(PICKLE).unwrap();
        let under = |id, name| pickle.get(id, name).unwrap();
        let first = under(pickle.root, "a");
        assert_eq!(first, under(pickle.root, "d"));
        let numbers = pickle.sequence(under(first, "b")).unwrap();
        assert!(matches!(pickle.node(numbers[1]), Node::Float(2.5)));
        assert!(matches!(pickle.node(numbers[3]), Node::Int(-1)));
        assert_eq!(pickle.number(numbers[2]), Some(300));
        assert_eq!(pickle.number(under(under(pickle.root, "e"), "x")), Some(1 << 40));
    }

    #[test]
    fn a_damaged_pickle_is_an_error_or_other_data_and_never_a_panic() {
        // A linear congruential generator draws new bytes, their positions and the length.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut read_whole = 0;
        for _ in 0..200_000 {
            let mut bytes = PICKLE.to_vec();
            for _ in 0..1 + next() % 4 {
                let place = next() % bytes.len();
                bytes[place] = next() as u8;
            }
            bytes.truncate(1 + next() % (2 * PICKLE.len()));
            if let Ok(pickle) = read(&bytes) {
                read_whole += 1;
                pickle.entries(pickle.root);
                let storages = storages::Storages::none();
                drop(walk::tensors(&pickle, storages, 100));
            }
        }
        assert!(read_whole > 1000, "{read_whole}");
    }

    #[test]
    fn objects_that_refer_to_each_other_take_no_time() {
        // Each object holds the one before it twice, 59 levels deep. Further below, a list holds itself.
        let mut bytes = b"\x80\x02]q\0".to_vec();
        for i in 1..60 {
            bytes.extend([b'h', i - 1, b'h', i - 1, 0x86, b'q', i]);
        }
        bytes.push(b'.');
        let pickle = read(&bytes).unwrap();
        let error = walk::tensors(&pickle, storages::Storages::none(), 100).err().unwrap();
        assert!(error.to_string().contains("references"), "{error}");
        let pickle = read(b"\x80\x02]q\0h\0a.").unwrap();
        assert!(walk::tensors(&pickle, storages::Storages::none(), 100).unwrap().tensors.is_empty());
    }
}
