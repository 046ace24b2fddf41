"""Um programa do aluno: como sobe, o que escreve, e como acaba, com tudo o que tiver lançado."""

import contextlib
import itertools
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from conferidor.dialogo import Falha

NO_WINDOWS = os.name == "nt"

PORTAS = range(20_000, 32_000)
"""As que se dão aos programas: longe das que o sistema escolhe para quem se conecta."""

_PROXIMAS = itertools.cycle(random.sample(PORTAS, len(PORTAS)))
"""Nenhuma se repete tão cedo, ainda que se confiram vários programas juntos; nem a ordem, em dois conferidores."""

NASCENDO = threading.Lock()
"""Um programa, ao nascer, tem por um instante os sockets abertos aqui; se um deles experimenta uma porta, ela parece
ocupada a quem a recebeu. Por isso nenhum nasce enquanto se experimenta uma."""


def porta_livre() -> int:
    """A próxima das portas em que ninguém aceita agora."""
    for porta in itertools.islice(_PROXIMAS, len(PORTAS)):
        with NASCENDO, socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", porta))
            return porta
    raise Falha("uma porta livre nesta máquina", "nenhuma")


class Processo:
    """O programa, a sua entrada e o fim da sua saída. Tudo o que ele lança acaba com ele."""

    MAXIMO_GUARDADO = 256 * 1024
    """Bytes do fim da saída. Um programa que escreve sem parar não ocupa mais que isto."""

    def __init__(self, comando: str, porta: int, pasta: Path | None = None, **trocas: str) -> None:
        """Troca `{porta}`, e o mais que se disser, no comando, e o lança em `pasta`; `Falha` se não dá."""
        self._mudou = threading.Condition()
        self._saida = bytearray()  # guardada por `_mudou`
        self._acabou = False  # a saída; também
        self._morto = False  # já se mandou matar
        trocas = {"porta": str(porta), **trocas}
        # Um grupo só dele: no fim, encerra-se o grupo.
        grupo = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if NO_WINDOWS else {"start_new_session": True}
        try:
            with NASCENDO:
                self.processo = subprocess.Popen(
                    _argumentos(comando, trocas, pasta),
                    cwd=pasta,
                    stdin=subprocess.PIPE,  # aberta: há servidores que acabam quando a entrada acaba
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    # Sem isto um programa em Python só mostra o que escreveu quando acaba.
                    env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                    **grupo,
                )
        except (OSError, ValueError) as erro:
            motivo = "há aspas que não fecham" if isinstance(erro, ValueError) else erro.strerror
            if isinstance(erro, FileNotFoundError):
                motivo = "não existe"
            raise Falha("o comando roda", f"{comando}: {motivo}") from None
        self._leitura = threading.Thread(target=self._ler, name="saida", daemon=True)
        self._leitura.start()

    # A saída.

    def _ler(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while dados := os.read(self.processo.stdout.fileno(), 65536):
                with self._mudou:
                    self._saida += dados
                    del self._saida[: -self.MAXIMO_GUARDADO]
                    self._mudou.notify_all()
        with self._mudou:
            self._acabou = True
            self._mudou.notify_all()

    def saida(self) -> str:
        """O fim do que ele escreveu."""
        with self._mudou:
            return self._saida.decode("utf-8", "replace")

    def escreve(self, condicao: Callable[[str], bool], prazo: float) -> bool:
        """Espera que a saída satisfaça a condição; `False` se não o fez no prazo, ou se acabou antes."""
        with self._mudou:
            self._mudou.wait_for(lambda: self._acabou or condicao(self._saida.decode("utf-8", "replace")), prazo)
        return condicao(self.saida())

    def ultima_frase(self) -> str:
        """A última linha que ele escreveu sem recuo: de um erro, costuma ser a que diz qual foi."""
        linhas = [linha.rstrip() for linha in self.saida().splitlines() if linha.strip() and not linha[0].isspace()]
        ultima = linhas[-1][:200] if linhas else ""
        # O que mexeria no terminal de quem lê o relato aparece escrito.
        return "".join(letra if letra.isprintable() else ascii(letra)[1:-1] for letra in ultima)

    # A entrada.

    def digita(self, texto: str) -> None:
        """Escreve uma linha na entrada dele; se já não lê, não faz nada."""
        with contextlib.suppress(OSError, ValueError):
            self.processo.stdin.write(f"{texto}\n".encode())
            self.processo.stdin.flush()

    def acaba_a_entrada(self) -> None:
        with contextlib.suppress(OSError):
            self.processo.stdin.close()

    # O fim.

    def codigo(self, prazo: float = 0.0) -> int | None:
        """O código com que terminou, se terminou neste prazo; então o que ele escreveu já foi lido."""
        try:
            codigo = self.processo.wait(prazo)
        except subprocess.TimeoutExpired:
            return None
        self._leitura.join(1.0)  # com prazo: alguém que ele lançou pode ter ficado com a saída aberta
        return codigo

    def interrompe(self) -> None:
        """O que Ctrl+C faz: um SIGINT para o grupo. Só no POSIX."""
        with contextlib.suppress(OSError):
            os.killpg(self.processo.pid, signal.SIGINT)

    def mata(self) -> None:
        """Encerra o programa e o que ele tiver lançado, sem lhe perguntar; pode ser chamada mais de uma vez."""
        if self._morto:  # o número do grupo já pode ser de outro
            return
        self._morto = True
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if NO_WINDOWS:
                arvore = ["taskkill", "/F", "/T", "/PID", str(self.processo.pid)]
                subprocess.run(arvore, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)
                self.processo.kill()  # ao menos ele, se não há `taskkill` que encerre a árvore
            else:
                os.killpg(self.processo.pid, signal.SIGKILL)
        self.codigo(prazo=5.0)
        self.acaba_a_entrada()
        if not self._leitura.is_alive():  # senão, alguém que escapou do grupo ainda tem a saída aberta
            self.processo.stdout.close()


def _argumentos(comando: str, trocas: dict[str, str], pasta: Path | None) -> list[str] | str:
    """O comando com as trocas feitas. No Windows é um texto só, que o sistema divide à sua maneira."""
    partes = [com_o_caminho(comando, pasta or Path())] if NO_WINDOWS else shlex.split(comando)
    for nome, valor in trocas.items():
        partes = [parte.replace(f"{{{nome}}}", valor) for parte in partes]
    return partes[0] if NO_WINDOWS else partes


def com_o_caminho(comando: str, pasta: Path) -> str:
    """O comando com o caminho inteiro do programa, se ele está na pasta: o Windows procura na de quem o lança."""
    programa, resto = re.match(r'("[^"]*"|\S*)(.*)', comando.strip(), re.DOTALL).groups()
    caminho = pasta.resolve() / programa.strip('"')
    return f'"{caminho}"{resto}' if any(Path(f"{caminho}{fim}").is_file() for fim in ("", ".exe")) else comando


def permitir_descritores(quantos: int) -> None:
    """Deixa este processo abrir tantos sockets, se o sistema tem um limite e permite aumentá-lo."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        atual, maximo = resource.getrlimit(resource.RLIMIT_NOFILE)
        if maximo == resource.RLIM_INFINITY or maximo >= quantos > atual:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(atual, quantos), maximo))
