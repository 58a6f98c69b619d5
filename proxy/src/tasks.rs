//! Tasks of the HTTP library.

use hyper::rt::Executor;

/// Runs tasks where they are handed over. Each is put on the heap at once: a runtime moves what it is given several times, and
/// those of HTTP/2, two for each request, take hundreds of bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tasks;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(Box::pin(task));
    }
}
