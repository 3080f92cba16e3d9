//! A panic stops the domain: there is nobody who could go on for it.

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::console::emergency(format_args!("{info}\n"));
    crate::shutdown::crash()
}
