//! `vitrine up`: a complete gallery on this machine, and how to use it.

use std::path::Path;

use super::{connect, serve};

/// Runs the verb.
pub async fn run(args: serve::Args) -> anyhow::Result<()> {
    serve::start_log();
    let data = std::path::absolute(&args.data)?;
    let prepared = serve::prepare(&args).await?;
    let is_first_start = prepared.is_first_start;
    prepared
        .serve(|endpoint| {
            eprint!("{}", screen(endpoint, &data, is_first_start)?);
            println!("listening on {endpoint}");
            Ok(())
        })
        .await
}

fn screen(endpoint: &str, data: &Path, is_first_start: bool) -> anyhow::Result<String> {
    let lines = connect::az_lines(data, "sh")?;
    let state = if is_first_start {
        "A new gallery is ready"
    } else {
        "Your gallery is ready again"
    };
    Ok(format!(
        "\n  Vitrine: {state} at {endpoint}\n\n\
           Data      {data}\n\
           Regions   {regions}\n\
           Trust     {data}/ca.pem\n\
           Sign-in   {data}/credentials.json (readable only by you)\n\n\
         Connect the Azure CLI by pasting four lines into another terminal:\n\n{lines}\n\
         Other clients: vitrine env terraform, packer or sdk. Ctrl-C stops the gallery and loses nothing.\n\n",
        data = data.display(),
        regions = std::fs::read_to_string(data.join("regions.txt"))?.trim(),
    ))
}
