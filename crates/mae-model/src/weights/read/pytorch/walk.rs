//! Finds the tensors among a checkpoint's objects.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use super::dtype::{dtype, storage_dtype};
use super::error::invalid;
use super::node::{Id, Node, Pickle};
use super::storages::Storages;
use super::tensor::Tensor;

/// The most objects visited in search of tensors; an object counts once per reference.
const MOST_VISITS: usize = 1 << 22;
/// The depth of nested containers to which tensors are found.
const MOST_DEPTH: usize = 64;
/// The most bytes of a tensor in a smaller file. A stride of 0 repeats elements, so a tensor may exceed its file.
const MOST_REPEATED: u64 = 64 << 20;

/// The tensors of a checkpoint.
#[derive(Default)]
pub struct Found {
    /// By their path through the dicts.
    pub tensors: BTreeMap<String, Tensor>,
    /// Paths of what unknown functions make from storages, such as sparse tensors.
    pub unread: Vec<String>,
}

/// Finds all tensors of a checkpoint in a file of `len` bytes.
pub fn tensors(pickle: &Pickle, storages: Storages, len: u64) -> io::Result<Found> {
    let mut walk = Walk {
        pickle,
        storages: Arc::new(storages),
        most_bytes: len.max(MOST_REPEATED),
        found: Found::default(),
        visits: 0,
        above: HashSet::new(),
    };
    walk.visit(pickle.root, &mut Vec::new())?;
    Ok(walk.found)
}

/// The search through the objects.
struct Walk<'a> {
    pickle: &'a Pickle,
    storages: Arc<Storages>,
    /// The most bytes of a tensor.
    most_bytes: u64,
    found: Found,
    visits: usize,
    /// The objects on the way to the one that is visited.
    above: HashSet<Id>,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, path: &mut Vec<String>) -> io::Result<()> {
        self.visits += 1;
        if self.visits > MOST_VISITS {
            return Err(invalid(format!("more than {MOST_VISITS} references between its objects")));
        }
        let pickle = self.pickle;
        if !matches!(pickle.node(id), Node::Dict(_) | Node::Sequence(_) | Node::Object(_)) {
            return Ok(());
        }
        match self.tensor(id, 0)? {
            Rebuilt::Tensor(tensor) => {
                self.found.tensors.insert(path.join("."), tensor);
                return Ok(());
            }
            Rebuilt::Unknown => {
                self.found.unread.push(path.join("."));
                return Ok(());
            }
            Rebuilt::No => {}
        }
        if path.len() == MOST_DEPTH || !self.above.insert(id) {
            return Ok(());
        }
        let items = match pickle.node(id) {
            Node::Sequence(items) => items.as_slice(),
            Node::Object(object) => object.items.as_slice(),
            _ => &[],
        };
        for (index, item) in items.iter().enumerate() {
            self.visit_as(*item, index.to_string(), path)?;
        }
        let entries = pickle.entries(id);
        // For a module that was saved whole, take what its state dict would have.
        let tables = ["_parameters", "_buffers", "_modules"].map(|name| pickle.get(id, name));
        let module = matches!(pickle.node(id), Node::Object(_)) && tables.iter().all(Option::is_some);
        let entries = match module {
            true => tables.into_iter().flatten().flat_map(|table| pickle.entries(table)).collect(),
            false => entries,
        };
        for (key, value) in entries {
            let name = match pickle.node(key) {
                Node::Text(text) => text.clone(),
                Node::Int(number) => number.to_string(),
                _ => "?".into(),
            };
            self.visit_as(value, name, path)?;
        }
        self.above.remove(&id);
        Ok(())
    }

    fn visit_as(&mut self, id: Id, name: String, path: &mut Vec<String>) -> io::Result<()> {
        path.push(name);
        let visited = self.visit(id, path);
        path.pop();
        visited
    }

    /// The tensor that a call would make.
    fn tensor(&self, id: Id, depth: usize) -> io::Result<Rebuilt> {
        let Node::Object(object) = self.pickle.node(id) else { return Ok(Rebuilt::No) };
        let args = self.pickle.sequence(object.args).unwrap_or_default();
        self.rebuilt(object.callee, args, depth)
    }

    fn rebuilt(&self, callee: Id, args: &[Id], depth: usize) -> io::Result<Rebuilt> {
        let Some(name) = self.pickle.global(callee).filter(|_| depth < 8) else { return Ok(Rebuilt::No) };
        let known = |dtype: Option<Id>| self.strided(args, dtype);
        match (name, args) {
            ("torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", _) => known(None),
            ("torch._utils._rebuild_tensor_v3", [_, _, _, _, _, _, dtype, ..]) => known(Some(*dtype)),
            (
                "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state",
                [data, ..],
            ) => self.tensor(*data, depth + 1),
            ("torch._tensor._rebuild_from_type_v2", [callee, _, args, ..]) => {
                self.rebuilt(*callee, self.pickle.sequence(*args).unwrap_or_default(), depth + 1)
            }
            _ if args.iter().any(|arg| matches!(self.pickle.node(*arg), Node::Persistent(_))) => {
                Ok(Rebuilt::Unknown)
            }
            _ => Ok(Rebuilt::No),
        }
    }

    /// Rebuilds a tensor from storage, offset, shape and strides.
    fn strided(&self, args: &[Id], class: Option<Id>) -> io::Result<Rebuilt> {
        let pickle = self.pickle;
        let sizes = |id: Id| {
            let sizes = pickle.sequence(id)?.iter().map(|size| pickle.number(*size));
            sizes.collect::<Option<Vec<_>>>()
        };
        let parsed = || {
            let [storage, offset, shape, strides, ..] = args else { return None };
            let Node::Persistent(storage) = pickle.node(*storage) else { return None };
            let [_, storage_class, key, _, _, view @ ..] = pickle.sequence(*storage)? else { return None };
            let no_view = view.iter().all(|view| matches!(pickle.node(*view), Node::None));
            let dtype = match class {
                Some(class) => pickle.global(class)?.strip_prefix("torch.").map(dtype)?,
                None => storage_dtype(pickle.global(*storage_class)?),
            };
            let (key, offset) = (pickle.text(*key)?.to_owned(), pickle.number(*offset)?);
            no_view.then_some((key, offset, sizes(*shape)?, sizes(*strides)?, dtype))
        };
        let (key, offset, shape, strides, dtype) =
            parsed().ok_or_else(|| invalid("a tensor whose description is not PyTorch's"))?;
        let Some(dtype) = dtype else { return Ok(Rebuilt::Unknown) };
        let tensor = Tensor { dtype, shape, strides, offset, key, storages: self.storages.clone() };
        let size = tensor.element_size();
        let held = self.storages.len(&tensor.key)? / size as u64;
        let bytes = tensor.count().and_then(|count| count.checked_mul(size));
        match (tensor.extent().filter(|extent| *extent as u64 <= held), bytes) {
            (Some(_), Some(bytes)) if bytes as u64 <= self.most_bytes => Ok(Rebuilt::Tensor(tensor)),
            _ => Err(invalid(format!(
                "a tensor of shape {:?} at {offset} of storage {}, which has {held} numbers",
                tensor.shape, tensor.key
            ))),
        }
    }
}

/// The result of a call.
enum Rebuilt {
    Tensor(Tensor),
    /// Something made of storages, but no known kind of tensor.
    Unknown,
    /// Not a tensor.
    No,
}
