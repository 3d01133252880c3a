//! A version's card in Croissant 1.0 (MLCommons): JSON-LD that data-set tools read.
//!
//! Columns become a record set where a reader of the file can find them by name: in a CSV file
//! with a header, and in a Parquet file. Of other files the card names the file alone.

use super::{link::DatasetLink, schema};
use crate::render;
use serde_json::{Value, json};
use twinfold_types::{
    PublicKey,
    dataset::{Column, ColumnKind, Dataset, DatasetVersion},
};

/// How a member is called.
pub type Names<'a> = &'a dyn Fn(&PublicKey) -> String;

pub fn croissant(dataset: &Dataset, version: &DatasetVersion, names: Names<'_>) -> Value {
    let link = |version: u64| {
        let name = dataset.spec.name.clone();
        DatasetLink { name, version: Some(version) }.to_string()
    };
    let spec = &dataset.spec;
    let mut card = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": spec.name,
        "description": spec.description,
        "url": link(version.number),
        "version": format!("{}.0.0", version.number),
        "datePublished": render::date(version.time),
        "creator": person(&dataset.owner, names),
        "contributor": person(&version.by, names),
        "identifier": version.tx.to_string(),
        "distribution": [file(version, &spec.name, link(version.number))],
    });
    if !spec.licence.is_empty() {
        card["license"] = json!(spec.licence);
    }
    if let Some(parent) = version.parent {
        card["isBasedOn"] = json!(link(parent));
    }
    if let Some(columns) = named_columns(version) {
        card["recordSet"] = json!([record_set(columns)]);
    }
    card
}

fn person(key: &PublicKey, names: Names<'_>) -> Value {
    json!({ "@type": "sc:Person", "name": names(key), "identifier": key.to_string() })
}

const FILE_ID: &str = "content";

fn file(version: &DatasetVersion, name: &str, link: String) -> Value {
    let content = &version.content;
    json!({
        "@type": "cr:FileObject",
        "@id": FILE_ID,
        "name": name,
        "contentUrl": link,
        "contentSize": format!("{} B", content.length),
        "encodingFormat": content.media_type,
        "sha256": content.sha256.to_string(),
    })
}

/// Columns that have names of their own, and not only their place.
fn named_columns(version: &DatasetVersion) -> Option<&[Column]> {
    let content = &version.content;
    let columns = content.columns.as_deref()?;
    let by_place =
        columns.iter().enumerate().all(|(place, column)| column.name == place.to_string());
    let found = [schema::CSV, schema::PARQUET].contains(&content.media_type.as_str());
    (found && !by_place).then_some(columns)
}

fn record_set(columns: &[Column]) -> Value {
    let field = |column: &Column| {
        let data_type = match column.kind {
            ColumnKind::Boolean => "sc:Boolean",
            ColumnKind::Integer => "sc:Integer",
            ColumnKind::Real => "sc:Float",
            ColumnKind::Text => "sc:Text",
        };
        json!({
            "@type": "cr:Field",
            "@id": format!("rows/{}", column.name),
            "name": column.name,
            "dataType": data_type,
            "source": {
                "fileObject": { "@id": FILE_ID },
                "extract": { "column": column.name },
            },
        })
    };
    let fields: Vec<_> = columns.iter().map(field).collect();
    json!({ "@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields })
}

/// The context that the specification gives.
fn context() -> Value {
    let plain = PLAIN.map(|(name, value)| (name.to_string(), json!(value)));
    let mut context: serde_json::Map<_, _> = plain.into_iter().collect();
    for name in ["data", "examples"] {
        context.insert(name.into(), json!({ "@id": format!("cr:{name}"), "@type": "@json" }));
    }
    context.insert("dataType".into(), json!({ "@id": "cr:dataType", "@type": "@vocab" }));
    Value::Object(context)
}

const PLAIN: [(&str, &str); 31] = [
    ("@language", "en"),
    ("@vocab", "https://schema.org/"),
    ("citeAs", "cr:citeAs"),
    ("column", "cr:column"),
    ("conformsTo", "dct:conformsTo"),
    ("cr", "http://mlcommons.org/croissant/"),
    ("rai", "http://mlcommons.org/croissant/RAI/"),
    ("dct", "http://purl.org/dc/terms/"),
    ("extract", "cr:extract"),
    ("field", "cr:field"),
    ("fileProperty", "cr:fileProperty"),
    ("fileObject", "cr:fileObject"),
    ("fileSet", "cr:fileSet"),
    ("format", "cr:format"),
    ("includes", "cr:includes"),
    ("isLiveDataset", "cr:isLiveDataset"),
    ("jsonPath", "cr:jsonPath"),
    ("key", "cr:key"),
    ("md5", "cr:md5"),
    ("parentField", "cr:parentField"),
    ("path", "cr:path"),
    ("recordSet", "cr:recordSet"),
    ("references", "cr:references"),
    ("regex", "cr:regex"),
    ("repeated", "cr:repeated"),
    ("replace", "cr:replace"),
    ("sc", "https://schema.org/"),
    ("separator", "cr:separator"),
    ("source", "cr:source"),
    ("subField", "cr:subField"),
    ("transform", "cr:transform"),
];
