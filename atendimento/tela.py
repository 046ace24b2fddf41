"""A tela de quem conversa: uma mensagem que chega enquanto a pessoa digita não se mistura com a linha dela.

É o problema do "race condition no terminal" da seção 3 do relatório.
"""

import contextlib
import getpass
import os
import re
import shutil
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from atendimento.terminal import colorama, colorir, usar_cores
from protocolo import (
    TODOS,
    Comando,
    Consulta,
    Fim,
    Mensagem,
    Pausa,
    Tipo,
    Transferencia,
    Volta,
    escolher_departamentos,
    validar_nome,
)

try:
    import readline
except ImportError:
    readline = None  # Windows: quem edita a linha é o console

PROMPT = "Sua mensagem: "

# O que se digita, o que faz e o pedido que vai ao servidor.
_PEDIDOS = {
    "/fila": ("mostra como está a fila", Consulta),
    "/encerrar": ("encerra a conversa", Fim),
}
_PEDIDOS_DO_ATENDENTE = {
    "/pausa": ("deixa de receber clientes", Pausa),
    "/volta": ("volta a receber clientes", Volta),
    "/transferir": ("passa o cliente a outro departamento: /transferir Suporte", Transferencia),
}
_DA_PROPRIA_TELA = {
    "/ajuda": "mostra estes comandos",
    "/sair": "encerra a conversa e fecha o programa",
    "//texto": "envia um texto que começa por /",
}


class Tela:
    """O terminal de uma conversa, usado por duas threads.

    A thread de leitura mostra o que chega com `mostrar`; a principal passa a vida em `ler`, e o que
    ela precisa dizer também vai por `mostrar`. Enquanto se digita, quem conhece a linha é o readline,
    que só a thread principal pode consultar: a de leitura deixa o texto em `_pendentes` e manda um
    sinal, que interrompe o `input()` entre duas teclas, e o tratador o escreve. Sem terminal (entrada
    ou saída por pipe): sem prompt e sem cores, uma linha por mensagem.
    """

    def __init__(self, tipo: Tipo, som: bool = True) -> None:
        self._pedidos = _PEDIDOS | (_PEDIDOS_DO_ATENDENTE if tipo is Tipo.ATENDENTE else {})
        for fluxo in (sys.stdin, sys.stdout):
            fluxo.reconfigure(errors="replace")
        self.interativa = sys.stdin.isatty() and sys.stdout.isatty()
        self.cores = usar_cores(sys.stdout)
        self.som = som and self.interativa
        self.saindo = False
        self.em_conversa = False
        self._conversa_acabou = threading.Event()
        self._saiu = threading.Event()  # a thread principal já não volta a `ler`
        self._insistindo = False
        # A trava guarda a saída padrão e `_pendentes`. É reentrante porque um Ctrl+C pode cair entre
        # tomá-la e o que vem depois, e a thread principal ainda tem de se despedir.
        self._trava = threading.RLock()
        self._digitando = False  # há, ou está para haver, um prompt na tela; só a principal o muda
        self._pendentes: list[str] = []
        self._escreveu = threading.Event()
        self._prompt_visivel = False  # da thread principal: o tratador de sinal já pode escrever
        self._ansi = os.environ.get("TERM") != "dumb" and (os.name != "nt" or colorama is not None)
        self._por_sinal = readline is not None and hasattr(signal, "pthread_kill")
        # O readline do GNU mostra o prompt e avisa quando o fez; a imitação do macOS nem sempre.
        self._readline_mostra = (
            self._por_sinal
            and "libedit" not in (readline.__doc__ or "")
            and hasattr(readline, "set_pre_input_hook")
        )
        if self._por_sinal:
            signal.signal(signal.SIGUSR1, self._tratar_pendentes)
        signal.signal(signal.SIGINT, self._interromper)

    # Para a thread de leitura.

    def mostrar(self, texto: str, cor: str | None = None, tocar: bool = False) -> None:
        """Escreve `texto` numa linha sua; repõe o prompt e o que estava sendo digitado.

        `tocar` chama quem está longe da tela, com o toque do terminal (BEL).
        """
        colorido = "\n".join(colorir(linha, cor, self.cores) for linha in texto.split("\n"))
        with self._trava:
            self._pendentes.append("\a" * (tocar and self.som) + colorido)
            if not (self._digitando and self._por_sinal):
                self._escrever_pendentes(por_cima=self._digitando)
        # Um sinal que chega entre duas teclas pode não ser notado: repete até que seja.
        while self._pendentes:
            self._escreveu.clear()
            if not self._insistindo:  # quem interrompe o `input()` também escreve; dois sinais, não
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            self._escreveu.wait(0.05)

    def conversa(self, em_curso: bool) -> None:
        """Anota o começo ou o fim de uma conversa."""
        self.em_conversa = em_curso
        if em_curso:
            self._conversa_acabou.clear()
        else:
            self._conversa_acabou.set()

    def encerrar(self) -> None:
        """Não há mais o que ler do servidor: faz a thread principal voltar de `ler`, sem Enter."""
        self._conversa_acabou.set()
        self.saindo = True
        if hasattr(signal, "pthread_kill"):
            self._interromper_ate_sair()
        elif self.interativa and not self._saiu.is_set():
            self.mostrar("Pressione Enter para sair.")

    # Para a thread principal.

    @contextlib.contextmanager
    def erros_para_gente(self) -> Iterator[None]:
        """Troca por uma frase o traceback do que pode dar errado sem que o programa tenha errado.

        Servidor fora do ar ou nome inválido: código 1. Ctrl+C, ou uma entrada que acabou antes de
        dizer o nome, terminam em paz.
        """
        try:
            yield
        except KeyboardInterrupt:
            print("\nSaindo...")
        except EOFError:
            print(end="\n" * self.interativa)
        except OSError:
            sys.exit("Não foi possível conectar ao servidor. Verifique se ele está online.")
        except ValueError as erro:
            sys.exit(str(erro))
        finally:
            self.sair()

    def ler(self) -> str | None:
        """Bloqueia até a pessoa digitar uma linha. `None`: ela quer sair, ou a conversa acabou.

        O fim de uma entrada por pipe não corta a conversa que a própria entrada pediu: espera-se o
        fim dela.
        """
        try:
            linha = self._ler_do_terminal() if self.interativa else input()
            if linha.strip() == "/sair":
                return None
            return linha
        except EOFError:
            if not self.interativa:
                self._conversa_acabou.wait()
        except KeyboardInterrupt:
            self._saiu.set()
            if not self.saindo:
                self.mostrar("\nSaindo...")
        return None

    def interpretar(self, linha: str, nome: str) -> Comando | None:
        """Transforma o que foi digitado no comando a enviar, ou `None` se não há o que enviar."""
        comando, texto = linha.strip(), linha
        if not comando:
            return None
        if comando.startswith("//"):
            texto = comando[1:]
        elif comando.startswith("/"):
            return self._pedido(comando)
        # Um texto colado pode ter várias linhas; no fio, cada uma é uma mensagem.
        return Mensagem(nome, [parte for parte in texto.splitlines() if parte.strip()])

    def _pedido(self, comando: str) -> Comando | None:
        """O pedido que um `/comando` faz ao servidor, ou `None` se é só com a tela."""
        palavra, _, argumento = comando.partition(" ")
        _, pedido = self._pedidos.get(palavra, ("", None))
        if pedido is Transferencia and argumento:
            return Transferencia(argumento.strip())
        if pedido is Transferencia:
            self.mostrar("(Diga para onde: /transferir Suporte)", "amarelo")
        elif argumento and (pedido or palavra in _DA_PROPRIA_TELA):
            self.mostrar(f"({palavra} vai sozinho, sem mais nada na linha.)", "amarelo")
        elif pedido:
            return pedido()
        elif palavra == "/ajuda":
            ajuda = {nome: efeito for nome, (efeito, _) in self._pedidos.items()} | _DA_PROPRIA_TELA
            self.mostrar("\n".join(f"  {nome:12} {efeito}" for nome, efeito in ajuda.items()), "ciano")
        else:
            self.mostrar(f"Comando desconhecido: {palavra} (veja /ajuda; // envia um texto com /).", "amarelo")
        return None

    def perguntar(self, pergunta: str) -> str:
        """Uma pergunta de antes da conversa, quando só a thread principal escreve."""
        return input(pergunta if self.interativa else "")

    def perguntar_nome(self, pergunta: str) -> str:
        """Pergunta até ter um nome válido."""
        return self._perguntar_ate(pergunta, validar_nome)

    def perguntar_departamento(self, opcoes: Sequence[str], varios: bool) -> str:
        """Pergunta até ter um departamento de `opcoes`; se `varios`, valem também alguns deles, ou todos.

        Vale o nome ou o número. Devolve o que responder ao servidor.
        """

        def escolher(texto: str) -> str:
            nomes = [_na_lista(item.strip(), opcoes) for item in texto.split(",")]
            if varios and nomes == [""]:
                return TODOS
            return ",".join(escolher_departamentos(",".join(nomes), opcoes, varios))

        if self.interativa:
            self.mostrar("\n".join(f"  {numero}. {nome}" for numero, nome in enumerate(opcoes, start=1)), "ciano")
        quantos = "Departamentos (números ou nomes, com vírgulas; Enter para todos): " if varios else "Departamento (número ou nome): "
        return self._perguntar_ate(quantos, escolher)

    def _perguntar_ate(self, pergunta: str, converter: Callable[[str], str]) -> str:
        """Pergunta até a resposta servir; por pipe, a primeira vale, ou `ValueError`."""
        while True:
            try:
                return converter(self.perguntar(pergunta))
            except ValueError as erro:
                if not self.interativa:
                    raise
                self.mostrar(str(erro), "amarelo")

    def perguntar_senha(self, pergunta: str) -> str:
        """A senha: da variável FILA_SENHA, ou perguntada sem eco."""
        if senha := os.environ.get("FILA_SENHA"):
            return senha
        return getpass.getpass(pergunta) if self.interativa else input()

    def sair(self) -> None:
        """A thread principal não volta a `ler`."""
        self.saindo = True
        self._saiu.set()

    # A linha que está sendo digitada.

    def _ler_do_terminal(self) -> str:
        """Um `input()` em que as mensagens que chegam não estragam o que se digita.

        O prompt é dado ao readline, que sem saber dele o apagaria com Ctrl+U ou Home.
        """
        self._digitando = True
        try:
            with self._trava:
                if self.saindo:
                    raise EOFError
                sys.stdout.write(self._apagar("") + PROMPT * (not self._readline_mostra))
                sys.stdout.flush()
            if self._readline_mostra:
                readline.set_pre_input_hook(self._prompt_mostrado)
            else:
                self._prompt_mostrado()
            return input(PROMPT if self._readline_mostra else "")
        finally:
            self._prompt_visivel = False
            with self._trava:
                if self.saindo:
                    sys.stdout.write(self._apagar(PROMPT + _linha_digitada()))
                self._escrever_pendentes(por_cima=False)
                self._digitando = False

    def _prompt_mostrado(self) -> None:
        self._prompt_visivel = True

    def _tratar_pendentes(self, *_: object) -> None:
        """Trata o SIGUSR1. Antes de o prompt aparecer não há o que fazer: o sinal se repete."""
        if self._prompt_visivel:
            self._prompt_visivel = False  # até acabar de escrever, o Ctrl+C também espera
            with self._trava:
                self._escrever_pendentes(por_cima=True)
            self._prompt_visivel = True

    def _escrever_pendentes(self, por_cima: bool) -> None:
        """Escreve o que há a mostrar, talvez por cima do que se digita. Exige a trava."""
        if self._pendentes:
            texto = "\n".join(self._pendentes)
            self._pendentes = []
            sys.stdout.write(self._por_cima_da_digitacao(texto) if por_cima else texto + "\n")
        sys.stdout.flush()
        self._escreveu.set()

    def _por_cima_da_digitacao(self, texto: str) -> str:
        """O que escrever para que `texto` apareça acima da linha que está sendo digitada."""
        linha = PROMPT + _linha_digitada()
        if self.saindo:
            return f"{self._apagar(linha)}{texto}\n"
        refeita = f"{self._apagar(linha)}{texto}\n{linha}"
        if not self._ansi or linha == PROMPT:
            return refeita
        colunas = shutil.get_terminal_size().columns
        largura = _largura(linha, colunas)
        if largura < colunas:
            # O cursor pode estar no meio da linha, e só o terminal sabe onde: ele o guarda e o
            # repõe tantas linhas abaixo quantas o texto ocupou.
            partes = _SEM_LARGURA.sub("", texto).split("\n")
            desceu = sum(max(1, -(-_largura(parte, colunas) // colunas)) for parte in partes)
            return f"\x1b7{refeita}\x1b8\x1b[{desceu}B"
        # No fim exato de uma linha da tela o terminal adia a passagem à seguinte; o readline, não.
        return refeita + " \r" * (largura % colunas == 0)

    def _apagar(self, linha: str) -> str:
        """O que escrever para apagar `linha`, em cujo fim está o cursor, ainda que ocupe várias da tela."""
        colunas = shutil.get_terminal_size().columns
        if not self._ansi:
            return f"\r{' ' * min(70, colunas - 1)}\r"
        acima = _largura(linha, colunas) // colunas
        return f"\x1b[{acima}A" * bool(acima) + "\r\x1b[2K\x1b[J"

    # O fim: o que acorda uma thread parada no `input()`.

    def _interromper(self, *_: object) -> None:
        """Trata o SIGINT, que vem do Ctrl+C ou de `encerrar`. Quem já está saindo não o percebe."""
        if self._saiu.is_set():
            return
        if hasattr(signal, "pthread_kill") and not self._insistindo:
            self._insistindo = True
            threading.Thread(target=self._interromper_ate_sair, daemon=True).start()
        # Enquanto o readline arruma a linha, ou se escreve por cima dela, uma exceção se perderia ou
        # deixaria a tela pela metade: o sinal se repete.
        if self._prompt_visivel or not self._digitando:
            raise KeyboardInterrupt

    def _interromper_ate_sair(self) -> None:
        """Um sinal que chega entre duas teclas pode não acordar o `input()`: repete até que volte."""
        while not self._saiu.wait(0.05):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


_SEM_LARGURA = re.compile(r"\x1b\[\d*m|\a")  # cores e toque


def _na_lista(item: str, opcoes: Sequence[str]) -> str:
    """O nome que está na lista com o número `item`, se não for ele mesmo um nome."""
    nomes = {str(numero): nome for numero, nome in enumerate(opcoes, start=1)}
    return item if item.casefold() in map(str.casefold, opcoes) else nomes.get(item, item)


def _linha_digitada() -> str:
    """O que já foi digitado; sem readline não há como saber. Só a thread principal pode chamá-la."""
    return readline.get_line_buffer() if readline is not None else ""


def _largura(texto: str, colunas: int) -> int:
    """Posições que o texto ocupa num terminal de `colunas` colunas, contando as que ficam vazias."""
    posicoes = 0
    for caractere in texto:
        if unicodedata.category(caractere) in ("Mn", "Me", "Cf"):  # acentos soltos, ZWJ: nada ocupam
            continue
        largo = unicodedata.east_asian_width(caractere) in "WF"
        if largo and posicoes % colunas == colunas - 1:
            posicoes += 1  # não cabe na última coluna: vai inteiro para a linha seguinte
        posicoes += 1 + largo
    return posicoes
