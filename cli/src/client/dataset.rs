//! Data sets: what nodes say of them, manifests, and chunks out of packs.

use super::{
    Client, ClientError,
    http::{Request, segment},
    read::transfer_time,
};
use std::io::Read;
use twinfold_types::{
    BlobId,
    api::DatasetView,
    dataset::{Dataset, DatasetVersion, is_name, manifest::Manifest},
    limits,
};

impl Client {
    pub fn datasets(&self) -> Result<Vec<Dataset>, ClientError> {
        self.listing("/v1/datasets", "a list of data sets")
    }

    pub fn dataset(&self, name: &str) -> Result<DatasetView, ClientError> {
        let request = Request::get(format!("/v1/datasets/{}", segment(name)), "a data set");
        self.http.fetch(&request, |_, bytes| {
            let view: DatasetView =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            match view.dataset.spec.name == name && is_name(name) {
                true => Ok(view),
                false => Err("it tells of another data set".into()),
            }
        })
    }

    /// Newest first, below `before` where given.
    pub fn dataset_versions(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DatasetVersion>, ClientError> {
        let before = before.map(|number| format!("&before={number}")).unwrap_or_default();
        let path = format!("/v1/datasets/{}/versions?limit={limit}{before}", segment(name));
        self.json(path, "a list of versions")
    }

    pub fn dataset_version(
        &self,
        dataset: &Dataset,
        number: u64,
    ) -> Result<DatasetVersion, ClientError> {
        let path = format!("/v1/datasets/{}/versions/{number}", segment(&dataset.spec.name));
        self.http.fetch(&Request::get(path, "a version of a data set"), |_, bytes| {
            let version: DatasetVersion =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            if (version.dataset, version.number) != (dataset.id, number) {
                return Err("it tells of another version".into());
            }
            match version.content.fault() {
                None => Ok(version),
                Some(fault) => Err(fault),
            }
        })
    }

    /// What a version consists of.
    pub fn manifest(&self, version: &DatasetVersion) -> Result<Manifest, ClientError> {
        let unusable = |reason: String| ClientError::Unexpected {
            node: "the chain".into(),
            request: format!("the manifest of version {}", version.number),
            expected: "a list of chunks".into(),
            reason,
        };
        let blob = &version.manifest;
        if blob.length > limits::MANIFEST_BYTES_MAX as u64 {
            return Err(unusable(format!("it has {} bytes", blob.length)));
        }
        let bytes = self.blob(blob)?;
        Manifest::decode(&bytes, version.content.length)
            .map_err(|error| unusable(error.to_string()))
    }

    /// A part of a payload, as some node sends it: nothing of it is checked here. Each
    /// call begins with another node.
    pub fn blob_part(&self, id: &BlobId, first: u64, bytes: u64) -> Result<Vec<u8>, ClientError> {
        let path = format!("/v1/blobs/{}", id.digest());
        let mut request = self.get_content(path, "a part of a payload")?;
        request.timeout = transfer_time(bytes);
        request.headers.push(("range", format!("bytes={first}-{}", first + bytes - 1)));
        let mut part = Vec::new();
        // Where all of it comes instead of the part, its beginning has another hash.
        let (body, _) = self.http.open_body(&request, id.length)?;
        let read = body.take(bytes).read_to_end(&mut part);
        match read {
            Ok(_) if part.len() as u64 == bytes => Ok(part),
            ended => {
                let reason = match ended {
                    Ok(_) => format!("{} of {bytes} bytes came", part.len()),
                    Err(error) => error.to_string(),
                };
                Err(ClientError::settings("payload", format!("the download broke off: {reason}")))
            }
        }
    }
}
