//! The files of `schemas/`, and walks over them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};

/// Keywords whose value is a schema for the same value.
const IN_PLACE: [&str; 3] = ["then", "else", "$ref"];
/// Keywords whose value is a list of schemas for the same value.
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// All schemas by name.
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    pub fn load() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let document = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), document)
        };
        Self(files.map(read).collect())
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    pub fn document(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("there is no schemas/{name}.json"))
    }

    /// The schema at `<name>.json#<pointer>`.
    fn at(&self, location: &str) -> &Value {
        let (file, pointer) = location.split_once('#').unwrap_or((location, ""));
        self.document(file.trim_end_matches(".json")).pointer(pointer).unwrap_or_else(|| panic!("no {location}"))
    }

    /// The location to which a `$ref` in `location` leads.
    fn follow(location: &str, reference: &str) -> String {
        let own = location.split('#').next().unwrap_or_default();
        let target = if reference.starts_with('#') { format!("{own}{reference}") } else { reference.to_owned() };
        if target.contains('#') { target } else { format!("{target}#") }
    }

    /// The schemas that apply to the same value as the one at `location`.
    fn in_place(&self, location: &str) -> Vec<String> {
        let schema = self.at(location);
        let mut places = Vec::new();
        for keyword in IN_PLACE {
            match &schema[keyword] {
                Value::String(reference) => places.push(Self::follow(location, reference)),
                Value::Object(_) => places.push(format!("{location}/{keyword}")),
                _ => {}
            }
        }
        for keyword in LISTS {
            let list = schema[keyword].as_array().map_or(0, Vec::len);
            places.extend((0..list).map(|n| format!("{location}/{keyword}/{n}")));
        }
        places
    }

    /// The locations of all properties that a file names.
    pub fn properties(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![format!("{name}.json#")];
        while let Some(location) = open.pop() {
            let schema = self.at(&location);
            for keyword in ["properties", "$defs"] {
                for key in schema[keyword].as_object().into_iter().flat_map(|map| map.keys()) {
                    let place = format!("{location}/{keyword}/{key}");
                    if keyword == "properties" {
                        found.insert(place.clone());
                    }
                    open.push(place);
                }
            }
            for keyword in ["items", "additionalProperties"] {
                if schema[keyword].is_object() {
                    open.push(format!("{location}/{keyword}"));
                }
            }
            let inside = format!("{location}/");
            open.extend(self.in_place(&location).into_iter().filter(|place| place.starts_with(&inside)));
        }
        found
    }

    /// Whether the property has a description, its own or that of what it refers to. A condition on a property that is
    /// described elsewhere (`true`, `const`, or only `if`, `minItems`, ...) needs none.
    pub fn is_described(&self, location: &str) -> bool {
        let schema = self.at(location);
        let states =
            ["type", "enum", "properties", "additionalProperties"].iter().any(|word| schema.get(word).is_some());
        let refers = schema["$ref"].as_str().map(|reference| self.is_described(&Self::follow(location, reference)));
        schema["description"].is_string() || refers.unwrap_or(!states)
    }

    /// The locations of the properties that the examples of a file use, also in other files.
    pub fn used_by_examples(&self, name: &str) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for example in self.document(name)["examples"].as_array().into_iter().flatten() {
            self.used(&format!("{name}.json#"), example, &mut used);
        }
        used
    }

    fn used(&self, location: &str, value: &Value, used: &mut BTreeSet<String>) {
        let schema = self.at(location);
        for place in self.in_place(location) {
            self.used(&place, value, used);
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            let property = format!("{location}/properties/{key}");
            if schema["properties"].get(key).is_some() {
                self.used(&property, value, used);
                used.insert(property);
            } else if schema["additionalProperties"].is_object() {
                self.used(&format!("{location}/additionalProperties"), value, used);
            }
        }
        if schema["items"].is_object() {
            for item in value.as_array().into_iter().flatten() {
                self.used(&format!("{location}/items"), item, used);
            }
        }
    }

    /// The same schemas without tolerance for fields that they do not name.
    pub fn closed(&self) -> Closed {
        let mut registry = Registry::new();
        for document in self.0.values() {
            let mut document = document.clone();
            close(&mut document, true);
            let id = document["$id"].as_str().unwrap().to_owned();
            registry = registry.add(id, document).unwrap();
        }
        Closed(registry.prepare().unwrap())
    }
}

/// Schemas that know every field which may be there.
pub struct Closed(Registry<'static>);

impl Closed {
    pub fn validate(&self, name: &str, value: &Value) -> Result<(), String> {
        let entry = json!({ "$ref": format!("https://muster.dev/schemas/{name}.json") });
        let options = jsonschema::options().with_draft(Draft::Draft202012).with_registry(&self.0).offline();
        let validator: Validator = options.should_validate_formats(true).build(&entry).unwrap();
        validator.validate(value).map_err(|e| format!("{}: {e}", e.instance_path()))
    }
}

/// Refuses unknown fields wherever a schema names some. `whole` is false for a part (a branch, a definition) that may
/// name only some of the fields of the value; whoever refers to it sees them all.
fn close(schema: &mut Value, whole: bool) {
    let Some(fields) = schema.as_object_mut() else { return };
    let names = ["properties", "$ref", "allOf", "oneOf", "if"].iter().any(|keyword| fields.contains_key(*keyword));
    if whole && names && !fields.contains_key("additionalProperties") {
        fields.insert("unevaluatedProperties".into(), json!(false));
    }
    for (keyword, value) in fields.iter_mut() {
        match (keyword.as_str(), value) {
            ("properties", Value::Object(map)) => map.values_mut().for_each(|inner| close(inner, true)),
            ("$defs", Value::Object(map)) => map.values_mut().for_each(|inner| close(inner, false)),
            ("items" | "additionalProperties", inner) => close(inner, true),
            ("then" | "else", inner) => close(inner, false),
            ("allOf" | "anyOf" | "oneOf", Value::Array(list)) => list.iter_mut().for_each(|inner| close(inner, false)),
            _ => {}
        }
    }
}

/// The value with a field that nobody knows, once at each object in it.
pub fn with_an_unknown_field(value: &Value) -> Vec<Value> {
    let mut pointers = Vec::new();
    objects(value, String::new(), &mut pointers);
    let with = |pointer: &String| {
        let mut copy = value.clone();
        copy.pointer_mut(pointer).unwrap()["unknown_field"] = json!(1);
        copy
    };
    pointers.iter().map(with).collect()
}

fn objects(value: &Value, pointer: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| objects(inner, format!("{pointer}/{key}"), out));
            out.push(pointer);
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(n, v)| objects(v, format!("{pointer}/{n}"), out)),
        _ => {}
    }
}
