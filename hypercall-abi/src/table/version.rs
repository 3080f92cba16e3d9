//! Operations of `xen_version`.

use super::row::operation_rows;

/// Hands the rows of the operations of `xen_version` to a visitor macro; see [`table`](crate::table).
#[macro_export]
macro_rules! for_each_version_operation {
    ($visitor:ident) => {
        $visitor! {
            /// Returns major << 16 | minor of the ABI that guests see.
            0 version() since 1 by any;
            /// Tells what follows the version, padded with zeros.
            1 extraversion(argument: Out<ExtraVersion>) since 1 by any;
            /// Tells how the hypervisor was built.
            2 compile_info(argument: Out<CompileInfo>) since 1 by any;
            /// Tells which guests run.
            3 capabilities(argument: Out<CapabilitiesInfo>) since 1 by any;
            /// Tells from which source it was built.
            4 changeset(argument: Out<ChangesetInfo>) since 1 by any;
            /// Tells where the hypervisor's part of the address space begins.
            5 platform_parameters(argument: Out<PlatformParameters>) since 1 by any;
            /// Tells the features. Errors: `EINVAL` a word other than 0.
            6 get_features(argument: InOut<FeatureInfo>) since 1 by any;
            /// Returns 4096. Errors: `EINVAL` the argument is not null.
            7 pagesize(argument: u64) since 1 by any;
            /// Tells the caller's UUID.
            8 guest_handle(argument: Out<DomainHandle>) since 1 by any;
            /// Tells the hypervisor's command line; to other domains than the first, the text `<denied>`.
            9 commandline(argument: Out<Commandline>) since 1 by any;
            /// Tells the build's identifier. Errors: `EPERM` to other domains than the first; `ENODATA` there is none.
            10 build_id(argument: InOut<BuildIdHeader>) since 1 by any;
        }
    };
}

crate::for_each_version_operation!(operation_rows);
