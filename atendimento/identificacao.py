"""A identificação: o diálogo com quem acaba de chegar, até se saber quem é e o que procura."""

import hmac
import io
import time
import unicodedata
from collections.abc import Sequence
from typing import Protocol

from atendimento.conexao import Conexao
from atendimento.filas import LOTADO, SEM_DEPARTAMENTO, Filas
from atendimento.limites import Ritmo
from protocolo import (
    MAXIMO_DO_NOME,
    NAO_UTF8,
    SENHA_INCORRETA,
    SENHA_OCULTA,
    Aviso,
    Pergunta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    escolher_departamentos,
    formato_de,
    limpar,
    validar_nome,
)

IAC = b"\xff"
"""O byte com que começam os comandos do Telnet; em UTF-8 não existe."""

PARECE_TELNET = "Tipo inválido: parece Telnet; escolha a conexão bruta (raw)."


class Portaria(Protocol):
    """O que a identificação precisa saber do servidor."""

    filas: Filas
    senha: str | None  # a dos atendentes, ou nenhuma
    prazo_identificacao: float  # segundos, para cada linha
    ritmo: int  # linhas por segundo de cada conexão; 0 é sem limite

    def cabe_o_cliente(self, quem: Conexao) -> bool:
        """Diz se ainda há um lugar que não seja de quem atende."""

    def conferir_senha(self, quem: Conexao, endereco: str, certa: bool) -> tuple[bool, float]:
        """A senha de `quem`: se já é a vez dela, e quantos segundos esperar, para tentar de novo ou pela resposta."""


class Identificacao:
    """O diálogo com `quem`, que vem do endereço IP `endereco`. É de uma thread só, a da conexão.

    No fim, `separador` e `linhas` têm o que chegou a mais, que já é da conversa.
    """

    def __init__(self, quem: Conexao, endereco: str, portaria: Portaria) -> None:
        self.quem = quem
        self.endereco = endereco
        self.portaria = portaria
        self.separador = SeparadorDeLinhas()
        self.linhas: list[str | Aviso | None] = []  # chegaram e ainda não foram interpretadas
        self._campo = "tipo"  # o que se espera que digam

    def fazer(self) -> tuple[Tipo, str, tuple[str, ...]]:
        """O tipo; a senha, se for o caso; o nome; o departamento, se houver. Devolve tipo, nome e departamentos.

        O que a primeira linha já traz não é perguntado. Levanta `ValueError` com o motivo da recusa,
        `TimeoutError` se uma das linhas demora mais que o prazo, `EOFError` se o outro se vai.
        """
        opcoes = self.portaria.filas.departamentos
        primeira = self._primeira_linha()  # só depois dela se sabe o formato
        entrada = self.quem.formato.ler_entrada(primeira)
        tipo, departamentos = entrada.tipo, (SEM_DEPARTAMENTO,)
        if tipo is Tipo.CLIENTE and not self.portaria.cabe_o_cliente(self.quem):
            raise ValueError(LOTADO.mensagem)
        if entrada.departamento is not None:
            departamentos = self._escolher(tipo, entrada.departamento)
        if tipo is Tipo.ATENDENTE and self.portaria.senha is not None:
            self._conferir_senha(self._perguntar("senha") if entrada.senha is None else entrada.senha)
        nome = validar_nome(self._perguntar("nome") if entrada.nome is None else entrada.nome)
        if opcoes and entrada.departamento is None:
            departamentos = self._escolher(tipo, self._perguntar("departamento", opcoes))
        return tipo, nome, departamentos

    def meia_linha(self) -> str:
        """O que dizer da linha a que falta o fim, se há uma. Uma senha não se repete: a recusa vai para o log."""
        meia = limpar(self.separador.resto.decode("utf-8", "replace")).strip()
        if len(meia) > MAXIMO_DO_NOME:
            meia = f"{meia[:MAXIMO_DO_NOME]}…"
        if meia and self._campo == "senha" or '"senha"' in meia:
            meia = SENHA_OCULTA
        return meia and f': "{meia}" chegou sem o fim de linha'

    def _escolher(self, tipo: Tipo, texto: str) -> tuple[str, ...]:
        escolhidos = escolher_departamentos(texto, self.portaria.filas.departamentos, varios=tipo is Tipo.ATENDENTE)
        return escolhidos or (SEM_DEPARTAMENTO,)

    def _conferir_senha(self, senha: str) -> None:
        """Levanta `ValueError` se a senha não é a dos atendentes; quem erra espera, e faz esperar o seu endereço.

        Não tem prazo: quem se identifica já disse o que tinha a dizer.
        """
        # Tempo constante: quanto demora a resposta não diz quantas letras estavam certas.
        dita, esperada = (unicodedata.normalize("NFC", uma).encode() for uma in (senha, self.portaria.senha))
        certa = hmac.compare_digest(dita, esperada)
        conferida = False
        while not conferida:
            conferida, espera = self.portaria.conferir_senha(self.quem, self.endereco, certa)
            self._esperar(espera)
        if not certa:
            raise ValueError(SENHA_INCORRETA)

    def _perguntar(self, campo: str, opcoes: Sequence[str] = ()) -> str:
        self._campo = campo
        self.portaria.filas.responder(self.quem, Pergunta(campo, opcoes))
        return self.quem.formato.ler_resposta(campo, self._proxima_linha(self._prazo())).texto

    def _primeira_linha(self) -> str | None:
        """A que diz o tipo, e por cujo começo se sabe o formato.

        As que vêm em branco antes dela não dizem nada, nem dão mais prazo, mas gastam o ritmo. `ValueError` se quem
        fala é um Telnet.
        """
        ate, ritmo, pedaco, em_branco = self._prazo(), Ritmo(self.portaria.ritmo), io.BytesIO(), True
        while em_branco:
            if not ritmo.tirar(1):
                if time.monotonic() >= ate:
                    raise TimeoutError
                self._esperar(ritmo.PAUSA)
                continue
            linha = pedaco.readline()
            if not linha:
                pedaco = io.BytesIO(self._receber(ate))
                continue
            inicio = self.separador.resto + linha
            self.quem.formato = formato_de(inicio)
            self.linhas = self.separador.alimentar(linha)
            em_branco = all(isinstance(lida, str) and not lida.strip() for lida in self.linhas)  # ou nenhuma, ainda
        if self.linhas[0] is NAO_UTF8 and IAC in inicio and isinstance(self.quem.formato, Texto):
            raise ValueError(PARECE_TELNET)
        self.linhas += self.separador.alimentar(pedaco.read())
        return self._proxima_linha(ate)

    def _proxima_linha(self, ate: float) -> str | None:
        """Uma linha da identificação. O prazo é o da linha inteira: um byte por vez não o renova."""
        while True:
            while not self.linhas:
                self.linhas = self.separador.alimentar(self._receber(ate))
            linha = self.linhas.pop(0)
            if not isinstance(linha, Aviso):
                return linha
            self.portaria.filas.responder(self.quem, linha)

    def _prazo(self) -> float:
        """O instante até o qual se espera por uma linha que se começa agora a esperar."""
        return time.monotonic() + self.portaria.prazo_identificacao

    def _esperar(self, segundos: float) -> None:
        """Deixa passar o tempo sem ler."""
        if not self.quem.esperar(segundos):
            raise EOFError

    def _receber(self, ate: float) -> bytes:
        dados = self.quem.receber(prazo=ate - time.monotonic())
        if not dados:
            raise EOFError
        return dados
