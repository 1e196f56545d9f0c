//! A host as one in C would be, with what its tests look at.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{fs, process, thread};

use rmpv::Value;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tractor_ffi::*;

/// A test that takes longer hangs.
const HANG: Duration = Duration::from_secs(30);

pub(crate) const LONG: u64 = 3_600_000_000_000;

/// What a callback was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Started(Value),
    Item(Value),
    Room,
    Ended(Ended),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) outcome: i32,
    pub(crate) requested: bool,
    pub(crate) value: Option<Value>,
    pub(crate) error_type: Option<String>,
    pub(crate) source_type: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) canceller: Option<String>,
}

type Hook = Box<dyn Fn(&Host, u64, &Told)>;

/// A guest with its host. The callbacks are given a pointer to it.
pub(crate) struct Host {
    pub(crate) guest: *mut Guest,
    pub(crate) told: RefCell<Vec<(u64, Told)>>,
    hook: RefCell<Option<Hook>>,
    args: Vec<CString>,
    _hang: Sender<()>,
    mark: String,
}

impl Host {
    pub(crate) fn new() -> Box<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("TRACTOR_FFI_MARK={}-{next}", process::id());
        let this = std::env::current_exe().unwrap().into_os_string();
        let args = [mark.clone(), this.into_string().unwrap()];
        let mut guest = ptr::null_mut();
        assert_eq!(
            unsafe { tractor_guest_new(c"host".as_ptr(), &mut guest) },
            TRACTOR_OK
        );
        Box::new(Self {
            guest,
            told: RefCell::default(),
            hook: RefCell::default(),
            args: args.map(|arg| CString::new(arg).unwrap()).into(),
            _hang: hang_guard(),
            mark,
        })
    }

    /// Has this called in each callback.
    pub(crate) fn hook(&self, hook: impl Fn(&Self, u64, &Told) + 'static) {
        *self.hook.borrow_mut() = Some(Box::new(hook));
    }

    /// This program again.
    pub(crate) fn start(&self) -> u64 {
        self.start_program(c"env", &self.args).unwrap()
    }

    pub(crate) fn start_program(&self, program: &CStr, args: &[CString]) -> Result<u64, i32> {
        let args: Vec<_> = (args.iter().map(|arg| arg.as_ptr()))
            .chain([ptr::null()])
            .collect();
        let expose = [c"api".as_ptr(), ptr::null()];
        let options = WorkerOptions {
            size: size_of::<WorkerOptions>(),
            name: c"worker".as_ptr(),
            program: program.as_ptr(),
            args: args.as_ptr(),
            expose: expose.as_ptr(),
            ended: Some(ended),
            data: self.data(),
        };
        let mut worker = 0;
        match unsafe { tractor_worker_start(self.guest, &options, &mut worker) } {
            TRACTOR_OK => Ok(worker),
            code => Err(code),
        }
    }

    pub(crate) fn open(&self, worker: u64, endpoint: &CStr, args: impl Into<Value>) -> u64 {
        self.try_open(worker, endpoint, args).unwrap()
    }

    pub(crate) fn try_open(
        &self,
        worker: u64,
        endpoint: &CStr,
        args: impl Into<Value>,
    ) -> Result<u64, i32> {
        let args = packed(&args.into());
        let options = ContextOptions {
            size: size_of::<ContextOptions>(),
            endpoint: endpoint.as_ptr(),
            args: args.as_ptr(),
            args_len: args.len(),
            started: Some(started),
            item: Some(item),
            room: Some(room),
            ended: Some(ended),
            data: self.data(),
        };
        let mut context = 0;
        match unsafe { tractor_context_open(self.guest, worker, &options, &mut context) } {
            TRACTOR_OK => Ok(context),
            code => Err(code),
        }
    }

    pub(crate) fn send(&self, context: u64, item: impl Into<Value>) -> i32 {
        let item = packed(&item.into());
        unsafe { tractor_context_send(self.guest, context, item.as_ptr(), item.len()) }
    }

    pub(crate) fn close(&self, context: u64) -> i32 {
        unsafe { tractor_context_close(self.guest, context) }
    }

    pub(crate) fn cancel(&self, context: u64) -> i32 {
        unsafe { tractor_context_cancel(self.guest, context) }
    }

    pub(crate) fn pause(&self, context: u64) -> i32 {
        unsafe { tractor_context_pause(self.guest, context) }
    }

    pub(crate) fn resume(&self, context: u64) -> i32 {
        unsafe { tractor_context_resume(self.guest, context) }
    }

    pub(crate) fn stop_worker(&self, worker: u64) -> i32 {
        unsafe { tractor_worker_stop(self.guest, worker) }
    }

    pub(crate) fn stop(&self) -> i32 {
        unsafe { tractor_guest_stop(self.guest) }
    }

    pub(crate) fn turn(&self, budget_ns: u64) -> i32 {
        unsafe { tractor_guest_turn(self.guest, budget_ns) }
    }

    pub(crate) fn next_deadline(&self) -> u64 {
        let mut ns = 0;
        let code = unsafe { tractor_guest_next_deadline(self.guest, &mut ns) };
        assert_eq!(code, TRACTOR_OK);
        ns
    }

    /// Whether the descriptor is readable, or is within this time.
    pub(crate) fn is_due(&self, limit: Duration) -> bool {
        let fd = unsafe { tractor_guest_fd(self.guest) };
        assert!(fd >= 0);
        // Open for as long as the guest is there.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let limit = Timespec::try_from(limit).unwrap();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() > 0
    }

    /// The loop of a host: turns until this is so, which only the descriptor tells when.
    pub(crate) fn until(&self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            match self.turn(1_000_000) {
                TRACTOR_MORE => {}
                TRACTOR_IDLE if !is_so(self) => {
                    self.is_due(HANG);
                }
                TRACTOR_IDLE => {}
                TRACTOR_DONE => return assert!(is_so(self), "it is done: {:?}", self.told),
                code => panic!("{code}: {}", last_error()),
            }
        }
    }

    /// So many turns, as far as there is something to do.
    pub(crate) fn some_turns(&self, turns: usize) {
        for _ in 0..turns {
            self.turn(0);
            self.is_due(Duration::from_millis(50));
        }
    }

    pub(crate) fn until_ended(&self, id: u64) -> Ended {
        self.until(|host| host.ended(id).is_some());
        self.ended(id).unwrap()
    }

    pub(crate) fn until_done(&self) {
        while self.turn(1_000_000) != TRACTOR_DONE {
            self.is_due(HANG);
        }
    }

    /// What was told of a worker or a context.
    pub(crate) fn told_of(&self, id: u64) -> Vec<Told> {
        let told = self.told.borrow();
        let told = told.iter().filter(|(of, _)| *of == id);
        told.map(|(_, told)| told.clone()).collect()
    }

    pub(crate) fn ended(&self, id: u64) -> Option<Ended> {
        self.told_of(id).into_iter().find_map(|told| match told {
            Told::Ended(ended) => Some(ended),
            _ => None,
        })
    }

    pub(crate) fn items(&self, id: u64) -> Vec<u64> {
        let told = self.told_of(id).into_iter();
        told.filter_map(|told| match told {
            Told::Item(item) => item.as_u64(),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn count(&self, id: u64) -> usize {
        self.told_of(id).len()
    }

    /// Frees the guest, and looks that each end was told once, as the last thing, and that no process
    /// is left.
    #[expect(clippy::boxed_local, reason = "the callbacks have its address")]
    pub(crate) fn free(mut self: Box<Self>, limit_ns: u64) -> BTreeMap<u64, Vec<Told>> {
        let code = unsafe { tractor_guest_free(self.guest, limit_ns) };
        assert_eq!(code, TRACTOR_OK, "{}", last_error());
        self.guest = ptr::null_mut();
        let mut all = BTreeMap::<u64, Vec<Told>>::new();
        for (id, told) in self.told.take() {
            all.entry(id).or_default().push(told);
        }
        for (id, told) in &all {
            let ends = told.iter().filter(|told| matches!(told, Told::Ended(_)));
            assert_eq!(ends.count(), 1, "{id}: {told:?}");
            assert!(
                matches!(told.last(), Some(Told::Ended(_))),
                "{id}: {told:?}"
            );
        }
        assert_eq!(self.processes(), Vec::<u32>::new());
        all
    }

    /// The workers that are there.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").unwrap();
        let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ
                .split(|byte| *byte == 0)
                .any(|entry| entry == self.mark.as_bytes())
        })
        .collect()
    }

    fn data(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    fn tell(&self, id: u64, told: Told) {
        self.told.borrow_mut().push((id, told.clone()));
        if let Some(hook) = &*self.hook.borrow() {
            hook(self, id, &told);
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if !self.guest.is_null() {
            // A test has failed. Its own panic is the one to be shown.
            unsafe { tractor_guest_free(self.guest, 0) };
        }
    }
}

unsafe extern "C" fn started(data: *mut c_void, context: u64, value: *const u8, len: usize) {
    let value = unpacked(unsafe { std::slice::from_raw_parts(value, len) });
    unsafe { host(data) }.tell(context, Told::Started(value));
}

unsafe extern "C" fn item(data: *mut c_void, context: u64, value: *const u8, len: usize) {
    let value = unpacked(unsafe { std::slice::from_raw_parts(value, len) });
    unsafe { host(data) }.tell(context, Told::Item(value));
}

unsafe extern "C" fn room(data: *mut c_void, context: u64) {
    unsafe { host(data) }.tell(context, Told::Room);
}

unsafe extern "C" fn ended(data: *mut c_void, id: u64, end: *const End) {
    let end = unsafe { &*end };
    let value = (!end.value.is_null())
        .then(|| unpacked(unsafe { std::slice::from_raw_parts(end.value, end.value_len) }));
    let ended = Ended {
        outcome: end.outcome,
        requested: end.requested == 1,
        value,
        error_type: unsafe { text(end.error_type) },
        source_type: unsafe { text(end.source_type) },
        text: unsafe { text(end.text) },
        canceller: unsafe { text(end.canceller) },
    };
    unsafe { host(data) }.tell(id, Told::Ended(ended));
}

unsafe fn host<'a>(data: *mut c_void) -> &'a Host {
    unsafe { &*data.cast::<Host>() }
}

unsafe fn text(text: *const c_char) -> Option<String> {
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })?;
    Some(text.to_str().unwrap().to_owned())
}

pub(crate) fn last_error() -> String {
    unsafe { text(tractor_last_error()) }.unwrap()
}

pub(crate) fn packed(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, value).unwrap();
    bytes
}

fn unpacked(mut bytes: &[u8]) -> Value {
    let value = rmpv::decode::read_value(&mut bytes).unwrap();
    assert!(bytes.is_empty());
    value
}

/// Ends the test program if a test takes too long, so that the runner says which it was.
pub(crate) fn hang_guard() -> Sender<()> {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let (done, waited) = channel::<()>();
    thread::spawn(move || {
        if waited.recv_timeout(HANG) == Err(RecvTimeoutError::Timeout) {
            // Past the runner, which keeps what its tests print.
            let _ = writeln!(std::io::stderr(), "{name} hangs");
            process::abort();
        }
    });
    done
}
