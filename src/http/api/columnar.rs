//! Parquet: rows into columns, a group of rows at a time, so that a file of any length takes the memory of one group.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::domain::time::Timestamp;

use super::cells::{Cell, Column, Kind};

/// Rows of one group.
const GROUP: usize = 10_000;

/// A Parquet file that is being written.
pub(super) struct Columnar {
    writer: SerializedFileWriter<Vec<u8>>,
    columns: &'static [Column],
    rows: Vec<Vec<Cell>>,
}

impl Columnar {
    /// Begins a file.
    pub(super) fn new(columns: &'static [Column]) -> Result<Self, ParquetError> {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| {
                let name = column.name;
                match column.kind {
                    Kind::Text => format!("required binary {name} (STRING);"),
                    Kind::Int => format!("required int64 {name};"),
                    Kind::Instant => format!("optional int64 {name} (TIMESTAMP(MILLIS,true));"),
                }
            })
            .collect();
        let schema = parse_message_type(&format!("message rows {{ {} }}", fields.join(" ")))?;
        Ok(Self {
            writer: SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::default())?,
            columns,
            rows: Vec::with_capacity(GROUP),
        })
    }

    /// Adds rows; what is ready of the file.
    pub(super) fn add(&mut self, rows: Vec<Vec<Cell>>) -> Result<Vec<u8>, ParquetError> {
        self.rows.extend(rows);
        if self.rows.len() >= GROUP {
            self.group()?;
        }
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// The rest of the file.
    pub(super) fn end(&mut self) -> Result<Vec<u8>, ParquetError> {
        if !self.rows.is_empty() {
            self.group()?;
        }
        self.writer.finish()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        let mut group = self.writer.next_row_group()?;
        let mut columns = self.columns.iter().enumerate();
        while let (Some(mut to), Some((at, column))) = (group.next_column()?, columns.next()) {
            let cells = rows.iter().filter_map(|row| row.get(at));
            match column.kind {
                Kind::Text => {
                    let texts: Vec<ByteArray> = cells
                        .map(|cell| match cell {
                            Cell::Text(text) => ByteArray::from(text.as_str()),
                            Cell::Int(_) | Cell::At(_) => ByteArray::from(""),
                        })
                        .collect();
                    to.typed::<ByteArrayType>()
                        .write_batch(&texts, None, None)?;
                }
                Kind::Int => {
                    let numbers: Vec<i64> = cells
                        .map(|cell| match cell {
                            Cell::Int(number) => *number,
                            Cell::Text(_) | Cell::At(_) => 0,
                        })
                        .collect();
                    to.typed::<Int64Type>().write_batch(&numbers, None, None)?;
                }
                Kind::Instant => {
                    let instants: Vec<Option<i64>> = cells
                        .map(|cell| match cell {
                            Cell::At(at) => at.map(Timestamp::as_millis),
                            Cell::Text(_) | Cell::Int(_) => None,
                        })
                        .collect();
                    let there: Vec<i16> =
                        instants.iter().map(|at| i16::from(at.is_some())).collect();
                    let values: Vec<i64> = instants.into_iter().flatten().collect();
                    to.typed::<Int64Type>()
                        .write_batch(&values, Some(&there), None)?;
                }
            }
            to.close()?;
        }
        group.close()?;
        Ok(())
    }
}
