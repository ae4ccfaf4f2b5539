//! The objects that a pickle describes.

/// The index of a node.
pub type Id = u32;

/// A value in a pickle.
#[derive(Debug)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Bytes, and integers of more than 64 bits.
    Other,
    /// `module.name`, a class or a function.
    Global(String),
    /// A list, a tuple or a set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// An object outside the pickle: one of PyTorch's storages.
    Persistent(Id),
    /// What a call would return, with what was put into it afterwards.
    Object(Box<Object>),
}

/// An object that a call would make, of a class of any kind: a dict, a list or neither.
#[derive(Debug)]
pub struct Object {
    /// What would be called.
    pub callee: Id,
    /// The tuple of its arguments.
    pub args: Id,
    /// What was appended to it.
    pub items: Vec<Id>,
    /// The key-value pairs that were set in it.
    pub entries: Vec<(Id, Id)>,
    /// The state that it would be restored from, such as its attributes.
    pub state: Option<Id>,
}

/// The objects of a pickle.
#[derive(Debug)]
pub struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// The object that was saved.
    pub root: Id,
}

impl Pickle {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// All nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The elements of a list, tuple or set.
    pub fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn global(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Global(name) => Some(name),
            _ => None,
        }
    }

    /// An integer that is not negative, such as a size or an offset.
    pub fn number(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The entries of a dict, of a subclass of one, or of an object's attributes.
    pub fn entries(&self, id: Id) -> Vec<(Id, Id)> {
        match self.node(id) {
            Node::Dict(entries) => entries.clone(),
            Node::Object(object) => {
                // `OrderedDict([(key, value), …])`, as older pickles have it.
                let pairs = self.sequence(object.args).unwrap_or_default().iter();
                let pairs = pairs.filter_map(|arg| self.sequence(*arg)).flatten();
                let pairs = pairs.filter_map(|pair| match self.sequence(*pair)? {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                });
                // The state of a class with slots is a pair of dicts.
                let state = object.state.map_or(Vec::new(), |state| match self.sequence(state) {
                    Some(dicts) => dicts.to_vec(),
                    None => vec![state],
                });
                let state = state.into_iter().filter_map(|state| match self.node(state) {
                    Node::Dict(entries) => Some(entries.as_slice()),
                    _ => None,
                });
                pairs.chain(object.entries.iter().copied()).chain(state.flatten().copied()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The value under a name.
    pub fn get(&self, id: Id, name: &str) -> Option<Id> {
        let found = self.entries(id).into_iter().rev().find(|(key, _)| self.text(*key) == Some(name));
        found.map(|(_, value)| value)
    }
}
