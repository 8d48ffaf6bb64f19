//! How results are printed, and which exit code an error has.

use std::io::Write as _;

use serde_json::Value;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Indented JSON; stable
    Json,
    /// One line per item, columns aligned
    Table,
    /// One line per item, columns by tabulators
    Tsv,
    /// One line per item, columns by commas, with a line of names
    Csv,
}

/// Something that was asked for is not there: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotFound(pub String);

/// A program that was run ended with this exit code.
#[derive(Debug, thiserror::Error)]
#[error("the program ended with exit code {0}")]
pub struct Ended(pub u8);

/// Returns the exit code of an error.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(Ended(code)) = error.downcast_ref() {
        return *code;
    }
    if error.downcast_ref::<NotFound>().is_some() {
        return 3;
    }
    match error.downcast_ref::<domain::Error>() {
        Some(error) if error.kind == domain::ErrorKind::NotFound => 3,
        _ => 1,
    }
}

/// Prints a result to stdout.
pub fn print(format: Format, value: &Value) -> anyhow::Result<()> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(value)? + "\n",
        Format::Table => lines(value, true),
        Format::Tsv => lines(value, false),
        Format::Csv => csv(value),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Returns lines of comma-separated values (RFC 4180).
fn csv(value: &Value) -> String {
    let single = [value.clone()];
    let rows = value.as_array().map_or(&single[..], Vec::as_slice);
    let names = names(rows);
    let quoted = |text: &str| match text.contains([',', '"', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut out = names.join(",") + "\n";
    for row in rows {
        let cells: Vec<String> = names
            .iter()
            .map(|name| quoted(&cell(row.get(*name))))
            .collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    out
}

/// Returns the names of members, in the order in which they first come.
fn names(rows: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in rows
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|row| row.keys())
    {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn lines(value: &Value, is_table: bool) -> String {
    let single;
    let rows: &[Value] = if let Some(rows) = value.as_array() {
        rows
    } else {
        single = [value.clone()];
        &single
    };
    let names = names(rows);
    let mut cells: Vec<Vec<String>> = Vec::new();
    if is_table {
        cells.push(names.iter().map(|n| (*n).to_owned()).collect());
    }
    cells.extend(
        rows.iter()
            .map(|row| names.iter().map(|name| cell(row.get(name))).collect()),
    );
    let widths: Vec<usize> = (0..names.len())
        .map(|column| {
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in cells {
        let shown: Vec<String> = row
            .into_iter()
            .zip(&widths)
            .map(|(cell, width)| {
                if is_table {
                    format!("{cell:width$}")
                } else {
                    cell
                }
            })
            .collect();
        out.push_str(shown.join(if is_table { "  " } else { "\t" }).trim_end());
        out.push('\n');
    }
    out
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.replace(['\t', '\n'], " "),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commas_and_quotes_stay_inside_their_column() {
        let rows = json!([{ "a": "x,y", "b": 1 }, { "a": "say \"no\"", "c": null }]);
        assert_eq!(csv(&rows), "a,b,c\n\"x,y\",1,\n\"say \"\"no\"\"\",,\n");
        assert_eq!(csv(&json!([])), "\n");
    }
}
