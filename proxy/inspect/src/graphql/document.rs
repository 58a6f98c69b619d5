//! Documents: text to operations.

use std::collections::{HashMap, HashSet};

use apollo_parser::Parser;
use apollo_parser::cst::{Definition, Document, FragmentDefinition, OperationDefinition, Selection, SelectionSet};

use super::{GraphqlError, Kind, Operation};

/// Nesting of a document.
const MAX_DEPTH: usize = 128;

/// Tokens of a document.
const MAX_TOKENS: usize = 20_000;

/// The operation of a document that will run: the one that is named, or the only one.
pub(super) fn operation(text: &str, name: Option<&str>) -> Result<Operation, GraphqlError> {
    let tree = Parser::new(text).recursion_limit(MAX_DEPTH).token_limit(MAX_TOKENS).parse();
    if tree.errors().len() > 0 {
        return Err(GraphqlError::Syntax);
    }
    let (operations, fragments) = definitions(&tree.document())?;
    let chosen = choose(&operations, name)?;
    let mut fields =
        Fields { fragments: &fragments, followed: HashSet::new(), seen: HashSet::new(), names: Vec::new() };
    fields.collect(chosen.selection_set().ok_or(GraphqlError::Syntax)?)?;
    if fields.names.is_empty() {
        return Err(GraphqlError::Syntax);
    }
    Ok(Operation { kind: kind(chosen), name: operation_name(chosen), fields: fields.names })
}

type Fragments = HashMap<String, FragmentDefinition>;

fn definitions(document: &Document) -> Result<(Vec<OperationDefinition>, Fragments), GraphqlError> {
    let mut operations = Vec::new();
    let mut fragments = Fragments::new();
    for definition in document.definitions() {
        match definition {
            Definition::OperationDefinition(operation) => operations.push(operation),
            Definition::FragmentDefinition(fragment) => {
                let name = fragment.fragment_name().and_then(|name| name.name()).ok_or(GraphqlError::Syntax)?;
                if fragments.insert(name.text().to_string(), fragment).is_some() {
                    return Err(GraphqlError::Ambiguous);
                }
            }
            _ => return Err(GraphqlError::Definitions),
        }
    }
    let names: HashSet<Option<String>> = operations.iter().map(operation_name).collect();
    let alone = operations.len() == 1 || !names.contains(&None);
    match names.len() == operations.len() && alone {
        true => Ok((operations, fragments)),
        false => Err(GraphqlError::Ambiguous),
    }
}

fn choose<'d>(
    operations: &'d [OperationDefinition],
    name: Option<&str>,
) -> Result<&'d OperationDefinition, GraphqlError> {
    match (operations, name) {
        ([], _) => Err(GraphqlError::NoOperation),
        ([only], None) => Ok(only),
        (_, None) => Err(GraphqlError::Unselected),
        (all, Some(name)) => {
            all.iter().find(|one| operation_name(one).as_deref() == Some(name)).ok_or(GraphqlError::Unselected)
        }
    }
}

fn operation_name(operation: &OperationDefinition) -> Option<String> {
    operation.name().map(|name| name.text().to_string())
}

fn kind(operation: &OperationDefinition) -> Kind {
    match operation.operation_type() {
        Some(kind) if kind.mutation_token().is_some() => Kind::Mutation,
        Some(kind) if kind.subscription_token().is_some() => Kind::Subscription,
        // `{ … }` is short for a query.
        Some(_) | None => Kind::Query,
    }
}

/// Root fields, through fragments; each fragment is followed once, so that circles end.
struct Fields<'d> {
    fragments: &'d Fragments,
    followed: HashSet<String>,
    seen: HashSet<String>,
    names: Vec<String>,
}

impl Fields<'_> {
    fn collect(&mut self, root: SelectionSet) -> Result<(), GraphqlError> {
        let mut open = vec![root];
        while let Some(selections) = open.pop() {
            for selection in selections.selections() {
                open.extend(self.selection(&selection)?);
            }
        }
        Ok(())
    }

    /// Notes a field; hands back the selections that a fragment adds at the same level.
    fn selection(&mut self, selection: &Selection) -> Result<Option<SelectionSet>, GraphqlError> {
        match selection {
            Selection::Field(field) => {
                let name = field.name().ok_or(GraphqlError::Syntax)?.text().to_string();
                if self.seen.insert(name.clone()) {
                    self.names.push(name);
                }
                Ok(None)
            }
            Selection::InlineFragment(inline) => inline.selection_set().map(Some).ok_or(GraphqlError::Syntax),
            Selection::FragmentSpread(spread) => {
                let name = spread.fragment_name().and_then(|name| name.name()).ok_or(GraphqlError::Syntax)?;
                let name = name.text().to_string();
                let fragment = self.fragments.get(&name).ok_or(GraphqlError::UnknownFragment)?;
                if !self.followed.insert(name) {
                    return Ok(None);
                }
                fragment.selection_set().map(Some).ok_or(GraphqlError::Syntax)
            }
        }
    }
}
