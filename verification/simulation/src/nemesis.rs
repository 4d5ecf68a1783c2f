//! The nemesis: it kills processes and starts new ones, pauses and resumes them, and sets the store's clock.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::process::{Life, Process};
use crate::rng::Rng;
use crate::world::World;

/// What a process was started for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Works,
    Operates,
}

/// All processes that were ever started.
#[derive(Debug)]
pub(crate) struct Nemesis {
    world: Arc<World>,
    rng: Rng,
    processes: Vec<(Process, Role)>,
    tasks: JoinSet<()>,
}

impl Nemesis {
    pub(crate) fn new(world: Arc<World>, rng: Rng) -> Self {
        let (workers, operators) = (world.options.processes, world.options.operators);
        let mut nemesis = Self { world, rng, processes: Vec::new(), tasks: JoinSet::new() };
        (0..workers).for_each(|_| nemesis.start(Role::Works));
        (0..operators).for_each(|_| nemesis.start(Role::Operates));
        nemesis
    }

    fn start(&mut self, role: Role) {
        let first = self.world.start_process(&self.rng);
        self.processes.push((first.process.clone(), role));
        match role {
            Role::Works => {
                (1..self.world.options.callers).for_each(|_| drop(self.tasks.spawn(first.beside().work())));
                self.tasks.spawn(first.work());
            }
            Role::Operates => drop(self.tasks.spawn(first.operate())),
        }
    }

    /// Injects faults for the duration in the world's options. After that a killed process stays dead, and every other
    /// process continues.
    pub(crate) async fn inject_faults(&mut self) {
        let interval = self.world.options.ttl / 2;
        let steps = self.world.options.span.as_nanos() / interval.as_nanos().max(1);
        for _ in 0..=steps {
            sleep(self.rng.up_to(2 * interval)).await;
            self.step();
        }
        self.world.end_faults();
        self.processes.iter().for_each(|(process, _)| process.set_life(Life::Runs));
    }

    fn step(&mut self) {
        let faults = self.world.options.faults.clone();
        let n = self.rng.within(0, self.processes.len() as u64 - 1) as usize;
        let (process, role) = self.processes[n].clone();
        if self.rng.percent(faults.crash) && process.life() != Life::Dead {
            process.set_life(Life::Dead);
            self.start(role);
        }
        if self.rng.percent(faults.pause) {
            process.set_life(if process.life() == Life::Paused { Life::Runs } else { Life::Paused });
        }
        if self.rng.percent(faults.clock_jump) {
            let by = self.rng.up_to(2 * self.world.options.hard_ttl);
            match self.rng.percent(50) {
                true => self.world.clock.forward(by),
                false => self.world.clock.back(by),
            }
        }
    }

    /// Waits until every process that was not killed has ended.
    pub(crate) async fn end(&mut self) {
        let living = |(process, role): &(Process, Role)| match (process.life(), role) {
            (Life::Dead, _) => 0,
            (_, Role::Works) => self.world.options.callers as usize,
            (_, Role::Operates) => 1,
        };
        for _ in 0..self.processes.iter().map(living).sum() {
            if let Some(Err(failed)) = self.tasks.join_next().await
                && failed.is_panic()
            {
                std::panic::resume_unwind(failed.into_panic());
            }
        }
    }
}
