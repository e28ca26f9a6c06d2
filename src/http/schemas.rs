//! What JSON Schema can say of the bodies, and utoipa's derive cannot: forms of texts, and members that stand together.
//!
//! In: the schemas that were derived, by name. Out: the same, completed.

use serde_json::{Value, json};

/// Pattern of base64 (RFC 4648, section 4): padded, its unused bits zero.
const BASE64: &str =
    "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
/// Pattern of a time that may be in the future: all before 2026 have passed.
const FUTURE: &str = "^(?:202[6-9]|20[3-9][0-9]|2[1-9][0-9]{2}|[3-9][0-9]{3})-";
/// Pattern of a time since 1970, as the times of files are.
const SINCE_1970: &str = "^(?:19[7-9][0-9]|[2-9][0-9]{3})-";

/// Completes the schemas.
pub fn complete(schemas: &mut Value) {
    for name in ["NewValue", "NewExpiry", "Step"] {
        let expires_at = &mut schemas[name]["properties"]["expires_at"];
        expires_at["format"] = json!("date-time");
        expires_at["pattern"] = json!(FUTURE);
    }
    schemas["NewValue"]["oneOf"] = ways_to_expire();
    schemas["NewExpiry"]["oneOf"] = json!([
        {"title": "At a time, or never", "required": ["expires_at"], "properties": {"expires_in_ms": false}},
        {"title": "After a time", "required": ["expires_in_ms"], "properties": {"expires_at": false}},
    ]);
    schemas["Step"]["oneOf"] = json!([
        {"title": "Put", "required": ["value"], "properties": {"op": {"const": "put"}}, "oneOf": ways_to_expire()},
        {"title": "Get or delete", "properties": {"op": {"enum": ["get", "delete"]}, "value": false, "expires_at": {"type": "null"},
            "expires_in_ms": false, "keep_expiry": {"const": false}}},
    ]);
    schemas["Binary"]["properties"]["$base64"]["pattern"] = json!(BASE64);
    schemas["Binary"]["additionalProperties"] = json!(false);
    let exported = &mut schemas["ExportedObject"];
    exported["properties"]["$base64"]["pattern"] = json!(BASE64);
    exported["properties"]["$expires_at"]["format"] = json!("date-time");
    exported["additionalProperties"] = json!(false);
    let mut ours = exported.clone();
    exported["oneOf"] = json!([
        {"title": "Text", "required": ["$text", "$expires_at"], "properties": {"$base64": false}},
        {"title": "Bytes", "required": ["$base64"], "properties": {"$text": false}},
    ]);
    ours["properties"]["$expires_at"]["pattern"] = json!(SINCE_1970);
    ours["title"] = json!("Text or bytes, and an expiry");
    ours["oneOf"] = json!([
        {"title": "Text", "required": ["$text"], "properties": {"$base64": false}},
        {"title": "Bytes", "required": ["$base64"], "properties": {"$text": false}},
    ]);
    schemas["ImportedValue"] = json!({
        "description": schemas["ImportedValue"]["description"],
        "oneOf": [
            {"title": "Text", "type": "string"},
            ours,
            {"title": "Any other JSON", "type": ["number", "boolean", "null", "array"]},
            {"title": "Any other object", "type": "object",
                "properties": {"$text": false, "$base64": false, "$expires_at": false}},
        ],
    });
    schemas["Backup"]["properties"]["to"]["pattern"] = json!("^/[^\\u0000]*$");
    let live = &mut schemas["LiveEvent"];
    live["oneOf"] = json!([
        event_of("figures", "#/components/schemas/Figures"),
        event_of("operations", "#/components/schemas/SomeOperations"),
        {"title": "Number of events that the client did not read in time",
            "properties": {"event": {"const": "skipped"}, "data": {"pattern": "^[0-9]+$"}}},
    ]);
}

/// Returns the schemas of the members that set the expiry of a new value: they exclude each other.
fn ways_to_expire() -> Value {
    json!([
        {"title": "At a time, or never", "properties": {"expires_in_ms": false, "keep_expiry": {"const": false}}},
        {"title": "After a time", "required": ["expires_in_ms"],
            "properties": {"expires_at": {"type": "null"}, "keep_expiry": {"const": false}}},
        {"title": "As the value before", "required": ["keep_expiry"],
            "properties": {"expires_at": {"type": "null"}, "expires_in_ms": false, "keep_expiry": {"const": true}}},
    ])
}

fn event_of(name: &str, data: &str) -> Value {
    json!({"title": name, "properties": {
        "event": {"const": name},
        "data": {"contentMediaType": "application/json", "contentSchema": {"$ref": data}},
    }})
}
