//! Fate: it kills processes and starts new ones, stops them and lets them go on, and sets the store's clock.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::dice::Dice;
use crate::process::{Life, Process};
use crate::world::World;

/// What a process was started for.
#[derive(Debug, Clone, Copy)]
enum Role {
    Works,
    Operates,
}

/// All processes that were ever started.
#[derive(Debug)]
pub(crate) struct Fate {
    world: Arc<World>,
    dice: Dice,
    processes: Vec<(Process, Role)>,
    tasks: JoinSet<()>,
}

impl Fate {
    pub(crate) fn new(world: Arc<World>, dice: Dice) -> Self {
        let (workers, operators) = (world.options.processes, world.options.operators);
        let mut fate = Self { world, dice, processes: Vec::new(), tasks: JoinSet::new() };
        (0..workers).for_each(|_| fate.start(Role::Works));
        (0..operators).for_each(|_| fate.start(Role::Operates));
        fate
    }

    fn start(&mut self, role: Role) {
        let first = self.world.start_process(&self.dice);
        self.processes.push((first.process.clone(), role));
        match role {
            Role::Works => {
                (1..self.world.options.callers).for_each(|_| drop(self.tasks.spawn(first.beside().work())));
                self.tasks.spawn(first.work());
            }
            Role::Operates => drop(self.tasks.spawn(first.operate())),
        }
    }

    /// Lets faults happen for as long as the world's options say; then the dead are dead, and everybody else goes on.
    pub(crate) async fn strike(&mut self) {
        let turn = self.world.options.ttl / 2;
        let turns = self.world.options.span.as_nanos() / turn.as_nanos().max(1);
        for _ in 0..=turns {
            sleep(self.dice.up_to(2 * turn)).await;
            self.turn();
        }
        self.world.calm_down();
        self.processes.iter().for_each(|(process, _)| process.becomes(Life::Runs));
    }

    fn turn(&mut self) {
        let faults = self.world.options.faults.clone();
        let n = self.dice.within(0, self.processes.len() as u64 - 1) as usize;
        let (process, role) = self.processes[n].clone();
        if self.dice.percent(faults.crash) && process.life() != Life::Dead {
            process.becomes(Life::Dead);
            self.start(role);
        }
        if self.dice.percent(faults.pause) {
            process.becomes(if process.life() == Life::Stands { Life::Runs } else { Life::Stands });
        }
        if self.dice.percent(faults.clock_jump) {
            let by = self.dice.up_to(2 * self.world.options.hard_ttl);
            match self.dice.percent(50) {
                true => self.world.clock.forward(by),
                false => self.world.clock.back(by),
            }
        }
    }

    /// Waits until all that lives has come to its end. What is dead never does.
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
