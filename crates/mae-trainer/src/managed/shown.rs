//! What is shown of a training.

use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use super::quiet::Quiet;
#[cfg(feature = "tui")]
use super::screen;

/// What is shown of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Nothing.
    Quiet,
    /// burn-train's full-screen view.
    #[cfg(feature = "tui")]
    FullScreen,
}

impl Screen {
    /// The full-screen view in a terminal, if it is compiled in and `quiet` does not forbid it.
    pub fn choose(quiet: bool) -> Self {
        #[cfg(feature = "tui")]
        if !quiet && std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            return Self::FullScreen;
        }
        let _ = quiet;
        Self::Quiet
    }

    pub(super) fn renderer(self, _interrupter: &Interrupter) -> Box<dyn MetricsRenderer> {
        match self {
            Self::Quiet => Box::new(Quiet),
            #[cfg(feature = "tui")]
            Self::FullScreen => screen::open(_interrupter),
        }
    }

    /// Lets Ctrl-C ask to stop in the full-screen view too: its raw mode makes a key of it that nobody reads.
    pub(super) fn hear_interrupts(self) {
        #[cfg(feature = "tui")]
        if self == Self::FullScreen {
            screen::hear_interrupts();
        }
    }

    /// Says that the view has closed, and has left the terminal as it was.
    pub(super) fn closed(self) {
        #[cfg(feature = "tui")]
        if self == Self::FullScreen {
            screen::closed();
        }
    }
}
