//! The tables of the database: records as they came, and the index from packages to what records say of them.
//!
//! Records are kept whole, for a patch may touch any part of them. The index is what a scan reads: for each container, product
//! and CVE one row. Lists of platforms, of which there are few and long ones, are stored once and named by numbers.

use std::collections::HashMap;

use redb::{
    AccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table,
    TableDefinition, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::affected::Versions;
use crate::cve_id::CveId;
use crate::error::Error;
use crate::feed::{MAX_RECORD, Record};
use crate::products::{Product, Products, products};
use crate::severity::Severity;

/// The number of the tables' form. A file of another one is begun anew: all that is in it comes from the feed.
const FORMAT: u64 = 1;

type Numbers = TableDefinition<'static, &'static str, u64>;
/// Offset, version, size of the payload's JSON, and the JSON as an LZ4 block.
type Stored = (u64, u64, u32, &'static [u8]);
/// Container, product, CVE.
type Key = (u16, &'static str, u64);

const META: Numbers = TableDefinition::new("meta");
const RECORDS: TableDefinition<'static, &'static str, Stored> = TableDefinition::new("records");
const CONTAINERS: TableDefinition<'static, &'static str, u16> = TableDefinition::new("containers");
const PLATFORMS: TableDefinition<'static, u32, &'static str> = TableDefinition::new("platforms");
const PLATFORM_NUMBERS: TableDefinition<'static, &'static [u8], u32> = TableDefinition::new("platform-numbers");
const COVERED: TableDefinition<'static, (u16, &'static str), ()> = TableDefinition::new("covered");
const PRODUCTS: TableDefinition<'static, Key, &'static [u8]> = TableDefinition::new("products");

/// A row of the index: what one container of one CVE says of one product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How bad it is.
    pub severity: Severity,
    /// The numbers of lists of platforms, and what is said of the versions there.
    pub affected: Vec<(u32, Versions)>,
}

/// How much a database holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// The feed's offset. 0: nothing was ever loaded.
    pub offset: u64,
    /// Records of CVEs.
    pub cves: u64,
    /// Other records.
    pub others: u64,
    /// Parts of CVE records that have no place in the index, for they cannot be read.
    pub unreadable: u64,
}

/// The tables, open for writing.
pub struct Writer<'t> {
    meta: Table<'t, &'static str, u64>,
    records: Table<'t, &'static str, Stored>,
    containers: Table<'t, &'static str, u16>,
    platforms: Table<'t, u32, &'static str>,
    platform_numbers: Table<'t, &'static [u8], u32>,
    covered: Table<'t, (u16, &'static str), ()>,
    products: Table<'t, Key, &'static [u8]>,
    known: HashMap<Vec<String>, u32>,
    contents: Contents,
}

impl<'t> Writer<'t> {
    /// Opens the tables.
    pub fn new(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        let meta = transaction.open_table(META)?;
        let contents = contents(&meta)?.unwrap_or_default();
        Ok(Self {
            meta,
            records: transaction.open_table(RECORDS)?,
            containers: transaction.open_table(CONTAINERS)?,
            platforms: transaction.open_table(PLATFORMS)?,
            platform_numbers: transaction.open_table(PLATFORM_NUMBERS)?,
            covered: transaction.open_table(COVERED)?,
            products: transaction.open_table(PRODUCTS)?,
            known: HashMap::new(),
            contents,
        })
    }

    /// Writes down what the database holds now, at `offset`.
    pub fn finish(mut self, offset: u64) -> Result<Contents, Error> {
        self.contents.offset = offset;
        let Contents { offset, cves, others, unreadable } = self.contents;
        for (name, number) in
            [("format", FORMAT), ("offset", offset), ("cves", cves), ("others", others), ("unreadable", unreadable)]
        {
            self.meta.insert(name, number)?;
        }
        Ok(self.contents)
    }

    /// The record of a name.
    pub fn record(&self, name: &str) -> Result<Option<Record>, Error> {
        self.records.get(name)?.map(|stored| record(name, &stored)).transpose()
    }

    /// Sets a record and its rows.
    pub fn put(&mut self, record: &Record) -> Result<(), Error> {
        self.remove(&record.name)?;
        let json = serde_json::to_vec(&record.payload).map_err(|error| Error::Store(error.to_string()))?;
        let size = u32::try_from(json.len()).map_err(|error| Error::Store(error.to_string()))?;
        let block = lz4_flex::block::compress(&json);
        self.records.insert(record.name.as_str(), (record.offset, record.version, size, block.as_slice()))?;
        let Ok(cve) = record.name.parse::<CveId>() else {
            self.contents.others += 1;
            return Ok(());
        };
        self.contents.cves += 1;
        let Products { by_name, unreadable } = products(&record.payload);
        self.contents.unreadable += unreadable;
        for ((container, name), product) in by_name {
            let container = self.container(&container)?;
            let row = self.row(container, product)?;
            let row = postcard::to_allocvec(&row).map_err(|error| Error::Store(error.to_string()))?;
            self.products.insert((container, name.as_str(), cve.to_bits()), row.as_slice())?;
        }
        Ok(())
    }

    /// Removes a record and its rows, if it is there.
    pub fn remove(&mut self, name: &str) -> Result<(), Error> {
        let Some(old) = self.record(name)? else { return Ok(()) };
        self.records.remove(name)?;
        let Ok(cve) = name.parse::<CveId>() else {
            self.contents.others = self.contents.others.saturating_sub(1);
            return Ok(());
        };
        self.contents.cves = self.contents.cves.saturating_sub(1);
        let Products { by_name, unreadable } = products(&old.payload);
        self.contents.unreadable = self.contents.unreadable.saturating_sub(unreadable);
        for (container, name) in by_name.into_keys() {
            let container = self.container(&container)?;
            self.products.remove((container, name.as_str(), cve.to_bits()))?;
        }
        Ok(())
    }

    fn row(&mut self, container: u16, product: Product) -> Result<Row, Error> {
        let mut row = Row { severity: product.severity, affected: Vec::with_capacity(product.affected.len()) };
        for affected in product.affected {
            // An entry that cannot be read does not say of which release it speaks.
            if affected.platforms.is_empty() && affected.versions != Versions::Unreadable {
                self.covered.insert((container, ""), ())?;
            }
            for platform in &affected.platforms {
                self.covered.insert((container, platform.as_str()), ())?;
            }
            row.affected.push((self.platforms(affected.platforms)?, affected.versions));
        }
        Ok(row)
    }

    /// The number of a container.
    fn container(&mut self, name: &str) -> Result<u16, Error> {
        if let Some(number) = self.containers.get(name)? {
            return Ok(number.value());
        }
        let number = u16::try_from(self.containers.len()?).map_err(|_| Error::Store("too many containers".into()))?;
        self.containers.insert(name, number)?;
        Ok(number)
    }

    /// The number of a list of platforms.
    fn platforms(&mut self, platforms: Vec<String>) -> Result<u32, Error> {
        if let Some(number) = self.known.get(&platforms) {
            return Ok(*number);
        }
        let text = platforms.join("\n");
        let digest = Sha256::digest(text.as_bytes());
        let stored = self.platform_numbers.get(digest.as_slice())?.map(|number| number.value());
        let number = match stored {
            Some(number) => number,
            None => {
                let number =
                    u32::try_from(self.platforms.len()?).map_err(|_| Error::Store("too many platforms".into()))?;
                self.platforms.insert(number, text.as_str())?;
                self.platform_numbers.insert(digest.as_slice(), number)?;
                number
            }
        };
        self.known.insert(platforms, number);
        Ok(number)
    }
}

/// The tables at one moment, open for reading.
pub struct Reader {
    records: ReadOnlyTable<&'static str, Stored>,
    containers: ReadOnlyTable<&'static str, u16>,
    platforms: ReadOnlyTable<u32, &'static str>,
    covered: ReadOnlyTable<(u16, &'static str), ()>,
    products: ReadOnlyTable<Key, &'static [u8]>,
    /// What the database holds at this moment.
    pub contents: Contents,
}

impl Reader {
    /// Opens the tables; none when they have another form, or were never made.
    pub fn new(transaction: &ReadTransaction) -> Result<Option<Self>, Error> {
        let meta = match transaction.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            meta => meta?,
        };
        let Some(contents) = contents(&meta)? else { return Ok(None) };
        Ok(Some(Self {
            records: transaction.open_table(RECORDS)?,
            containers: transaction.open_table(CONTAINERS)?,
            platforms: transaction.open_table(PLATFORMS)?,
            covered: transaction.open_table(COVERED)?,
            products: transaction.open_table(PRODUCTS)?,
            contents,
        }))
    }

    /// The record of a name.
    pub fn record(&self, name: &str) -> Result<Option<Record>, Error> {
        self.records.get(name)?.map(|stored| record(name, &stored)).transpose()
    }

    /// The number of a container, when the database has one of this name.
    pub fn container(&self, name: &str) -> Result<Option<u16>, Error> {
        Ok(self.containers.get(name)?.map(|number| number.value()))
    }

    /// The platforms of which a container speaks. `""`: it speaks of all.
    pub fn covered(&self, container: u16) -> Result<Vec<String>, Error> {
        let mut covered = Vec::new();
        for entry in self.covered.range((container, "")..)? {
            let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
            let (of, platform) = key.value();
            if of != container {
                break;
            }
            covered.push(platform.to_owned());
        }
        Ok(covered)
    }

    /// The list of platforms of a number. Empty: all of which the container speaks.
    pub fn platforms(&self, number: u32) -> Result<Vec<String>, Error> {
        let list = self.platforms.get(number)?.ok_or_else(|| Error::Store(format!("no platforms {number}")))?;
        Ok(list.value().split('\n').filter(|platform| !platform.is_empty()).map(str::to_owned).collect())
    }

    /// What a container says of a product, in the order of the CVEs.
    pub fn rows(&self, container: u16, product: &str) -> Result<Vec<(CveId, Row)>, Error> {
        let mut rows = Vec::new();
        for entry in self.products.range((container, product, u64::MIN)..=(container, product, u64::MAX))? {
            let (key, row) = entry?;
            let row = postcard::from_bytes(row.value()).map_err(|error| Error::Store(error.to_string()))?;
            rows.push((CveId::from_bits(key.value().2), row));
        }
        Ok(rows)
    }
}

/// What the table of numbers says; none when it is not of this form.
fn contents(meta: &impl redb::ReadableTable<&'static str, u64>) -> Result<Option<Contents>, Error> {
    let number = |name| meta.get(name).map(|number| number.map_or(0, |number| number.value()));
    if number("format")? != FORMAT {
        return Ok(None);
    }
    Ok(Some(Contents {
        offset: number("offset")?,
        cves: number("cves")?,
        others: number("others")?,
        unreadable: number("unreadable")?,
    }))
}

fn record(name: &str, stored: &AccessGuard<'_, Stored>) -> Result<Record, Error> {
    let corrupt = |why: &dyn std::fmt::Display| Error::Store(format!("the record {name} cannot be read: {why}"));
    let (offset, version, size, block) = stored.value();
    if size as usize > MAX_RECORD {
        return Err(corrupt(&"too large"));
    }
    let json = lz4_flex::block::decompress(block, size as usize).map_err(|error| corrupt(&error))?;
    let payload: Value = serde_json::from_slice(&json).map_err(|error| corrupt(&error))?;
    Ok(Record { name: name.to_owned(), offset, version, payload })
}
