//! Requests: bodies and query strings to operations.

use serde_json::{Map, Value};

use super::{GraphqlError, MAX_BATCH, Request, document};
use crate::{json, query};

/// Reads a POST body: one request, or a batch of which every one counts.
///
/// # Errors
/// [`GraphqlError`]; one bad request spoils the batch.
pub fn from_body(body: &[u8]) -> Result<Vec<Request>, GraphqlError> {
    match json::read(body)? {
        Value::Object(object) => Ok(vec![from_object(&object)?]),
        Value::Array(batch) if batch.is_empty() => Err(GraphqlError::EmptyBatch),
        Value::Array(batch) if batch.len() > MAX_BATCH => Err(GraphqlError::LongBatch),
        Value::Array(batch) => {
            let one = |value: &Value| from_object(value.as_object().ok_or(GraphqlError::NotAnObject)?);
            batch.iter().map(one).collect()
        }
        _ => Err(GraphqlError::NotAnObject),
    }
}

/// Reads the query string of a GET.
///
/// # Errors
/// [`GraphqlError`].
pub fn from_query(text: &str) -> Result<Request, GraphqlError> {
    let mut object = Map::new();
    for pair in query::pairs(text) {
        let (name, value) = pair?;
        let Some(known) = PARAMETERS.iter().find(|known| known.eq_ignore_ascii_case(&name)) else { continue };
        let value = match *known {
            "extensions" | "variables" => json::read(value.as_bytes())?,
            _ => Value::String(value.into_owned()),
        };
        if object.insert((*known).to_owned(), value).is_some() {
            return Err(GraphqlError::Duplicate(known));
        }
    }
    from_object(&object)
}

/// True for a query parameter that some server would read as part of a GraphQL request.
#[must_use]
pub fn is_parameter(name: &str) -> bool {
    PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

const PARAMETERS: [&str; 7] = ["query", "operationName", "variables", "extensions", "id", "documentId", "queryId"];

/// Reads one request; a text is judged by the text, even where an id stands next to it.
pub(super) fn from_object(object: &Map<String, Value>) -> Result<Request, GraphqlError> {
    let text = text(object, "query")?;
    let name = self::text(object, "operationName")?.filter(|name| !name.is_empty());
    json::member(object, "variables")?;
    let id = persisted(object)?;
    match (text.filter(|text| !text.is_empty()), id) {
        (Some(text), _) => document::operation(text, name).map(Request::Operation),
        (None, Some(id)) => Ok(Request::Persisted(id.to_owned())),
        (None, None) => Err(GraphqlError::NoOperation),
    }
}

/// The id of a persisted operation, in any of the places where clients put it.
fn persisted(object: &Map<String, Value>) -> Result<Option<&str>, GraphqlError> {
    let extension = match json::member(object, "extensions")? {
        None | Some(Value::Null) => None,
        Some(Value::Object(extensions)) => json::member(extensions, "persistedQuery")?,
        Some(_) => return Err(GraphqlError::Type("extensions")),
    };
    let hash = match extension {
        None | Some(Value::Null) => None,
        Some(Value::Object(persisted)) => text(persisted, "sha256Hash")?,
        Some(_) => return Err(GraphqlError::Type("extensions")),
    };
    let ids = [hash, text(object, "id")?, text(object, "documentId")?, text(object, "queryId")?];
    let mut ids = ids.into_iter().flatten().filter(|id| !id.is_empty());
    let first = ids.next();
    match ids.all(|id| Some(id) == first) {
        true => Ok(first),
        false => Err(GraphqlError::ManyIds),
    }
}

fn text<'v>(object: &'v Map<String, Value>, name: &'static str) -> Result<Option<&'v str>, GraphqlError> {
    match json::member(object, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(GraphqlError::Type(name)),
    }
}
