//! Debian's static librocksdb leaves its compression libraries and the C++
//! runtime to the final link; name them here.
fn main() {
    println!("cargo:rustc-link-search=native=/usr/lib/x86_64-linux-gnu");
    for library in ["snappy", "zstd", "lz4", "z", "bz2"] {
        println!("cargo:rustc-link-lib=static={library}");
    }
    println!("cargo:rustc-link-lib=dylib=stdc++");
}
