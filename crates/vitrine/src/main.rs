//! The `vitrine` command: runs a gallery and takes care of it.
//!
//! Results go to stdout, talk and progress to stderr. Exit codes follow az: 0 done, 1 failed,
//! 2 usage, 3 not found.

mod client;
mod commands;
mod config;
mod connections;
mod credentials;
mod data_dir;
mod names;
mod outbound;
mod output;
mod server;
mod stand_in;
mod stores;
mod tls;
mod transfer;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    audit, backup, care, connect, doctor, exec, export, image, principal, publish, publisher,
    region, routes, schedule, serve, subscription, tenant, up, usage, vm,
};

/// A compute gallery that anyone can run
#[derive(Parser)]
#[command(name = "vitrine", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = output::Format::Json)]
    output: output::Format,
}

#[derive(Subcommand)]
enum Command {
    /// Start a complete gallery on this machine
    Up(serve::Args),
    /// Run the server alone
    Serve(serve::Args),
    /// Print the lines that point a client at this gallery
    Env(connect::Args),
    /// Run a program that knows only the public cloud against this gallery
    Exec(exec::Args),
    /// Publish an image file as a version
    Publish(publish::Args),
    /// Write a version back to a file
    Export(export::Args),
    /// Boot machines from images
    Vm(vm::VmArgs),
    /// Show what is stored and what it costs
    Stat(care::StatArgs),
    /// Check this machine and this gallery
    Doctor(doctor::Args),
    /// Check that catalog and stores agree
    Fsck(care::FsckArgs),
    /// Remove content that nothing refers to
    Sweep(care::SweepArgs),
    /// Compress stored content once more
    Condense(care::CondenseArgs),
    /// Re-read and check stored content
    Scrub(care::ScrubArgs),
    /// Show or change what the gallery does for itself, and when
    Schedule(schedule::Args),
    /// Show what a subscription is charged for, by day
    Usage(usage::Args),
    /// Copy the catalog and keys of a gallery, while it runs
    Backup(backup::BackupArgs),
    /// Put a backup back beside its stores, and check them
    Restore(backup::RestoreArgs),
    /// Show regions, add one, or say where its content lies
    Region(region::RegionArgs),
    /// Manage tenants
    Tenant(tenant::TenantArgs),
    /// Manage subscriptions
    Subscription(subscription::SubscriptionArgs),
    /// Manage users and service principals
    Principal(principal::PrincipalArgs),
    /// Manage verified publishers
    Publisher(publisher::PublisherArgs),
    /// Offer images to all subscriptions, as a marketplace does
    Image(image::ImageArgs),
    /// Check the audit
    Audit(audit::AuditArgs),
    /// Print every route of the server
    Routes,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads to run on: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(run(cli.command, cli.output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A program that ran has said itself what happened to it.
            if !error.is::<output::Ended>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(output::exit_code(&error))
        }
    }
}

async fn run(command: Command, format: output::Format) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Env(args) => connect::run(&args),
        Command::Exec(args) => exec::run(args).await,
        Command::Publish(args) => output::print(format, &publish::run(args).await?),
        Command::Export(args) => output::print(format, &export::run(args).await?),
        Command::Vm(args) => output::print(format, &vm::run(args).await?),
        Command::Stat(args) => output::print(format, &care::stat(args, format).await?),
        Command::Doctor(args) => doctor::run(args, format).await,
        Command::Fsck(args) => output::print(format, &care::fsck(args).await?),
        Command::Sweep(args) => output::print(format, &care::sweep(args).await?),
        Command::Condense(args) => output::print(format, &care::condense(args).await?),
        Command::Scrub(args) => output::print(format, &care::scrub(args).await?),
        Command::Schedule(args) => output::print(format, &schedule::run(args, format).await?),
        Command::Backup(args) => output::print(format, &backup::backup(args).await?),
        Command::Restore(args) => output::print(format, &backup::restore(args).await?),
        Command::Usage(args) => output::print(format, &usage::run(args).await?),
        Command::Region(args) => output::print(format, &region::run(args).await?),
        Command::Tenant(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &tenant::run(args, &engine).await?)
        }
        Command::Subscription(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &subscription::run(args, &engine).await?)
        }
        Command::Principal(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &principal::run(args, &engine).await?)
        }
        Command::Publisher(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &publisher::run(args, &engine).await?)
        }
        Command::Image(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &image::run(args, &engine).await?)
        }
        Command::Audit(args) => {
            let engine = data_dir::DataDir::from(&args.data).open_engine().await?;
            output::print(format, &audit::run(args, &engine).await?)
        }
        Command::Routes => output::print(format, &routes::all()),
    }
}
